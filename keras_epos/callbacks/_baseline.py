"""What a model could do before training: what its training has to beat."""

import numpy as np


def has_stepped(model):
    """Whether the optimizer of `model` has made steps: then its training began before this `fit`."""
    iterations = getattr(getattr(model, "optimizer", None), "iterations", None)
    return iterations is not None and int(iterations.numpy()) > 0  # one number, also where each replica has its own


def check_baseline(baseline):
    """Raise a `ValueError` unless `baseline` is a boolean, or what `RecallAtK.baseline` was in an earlier run."""
    if isinstance(baseline, (bool, np.bool_)):
        return
    parts = baseline.values() if isinstance(baseline, dict) else [None]
    if not set(baseline if isinstance(baseline, dict) else ()) <= set(NAMES) or not all(
        isinstance(part, dict) for part in parts
    ):
        raise ValueError(
            "`baseline` must be True, False, or a dictionary such as "
            '{"start": {"recall@1": 0.5}, "backbone": {"recall@1": 0.6}}, which `RecallAtK.baseline` of the run so far '
            f"is. Received: baseline={baseline!r}."
        )


NAMES = {
    "start": "the {0:.1%} of the model before this training",
    "backbone": "the {0:.1%} that the features of its backbone, without the head, had before this training",
    "probe": "the {0:.1%} of a linear probe, a layer found without training, on the features of its frozen backbone",
}


def best_epoch(history, name):
    """The best value of `history` under `name` and its epoch, from 0; the first of equals. `None` without any."""
    measured = [(entry[name], -entry["epoch"]) for entry in history if name in entry]
    if not measured:
        return None
    value, epoch = max(measured)
    return value, -epoch


def best_part(baseline, name):
    """The best value of `baseline` under `name` and its part, the first of equals; `None` without any."""
    known = {part: values[name] for part, values in baseline.items() if name in values}
    return max(((known[part], part) for part in known), key=lambda pair: pair[0], default=None)


def behind(baseline, history, name, callback="RecallAtK"):
    """A sentence when the best of `history` under `name` is behind the best part of `baseline`, else `None`."""
    level, best = best_part(baseline, name), best_epoch(history, name)
    if level is None or best is None or best[0] >= level[0]:
        return None
    harm = "does less than that layer" if level[1] == "probe" else "loses what the model had"
    return (
        f"{callback}: {name} is {best[0]:.1%} at best, after epoch {1 + best[1]}, and so behind "
        f"{NAMES[level[1]].format(level[0])}. Training {harm}. Try a "
        "smaller learning rate (for the backbone: `backbone_optimizer`), a frozen backbone, or fewer epochs."
    )
