"""What a model could do before training: what its training has to beat."""

import numpy as np


def has_stepped(model):
    """Whether the optimizer of `model` has made steps: then its training began before this `fit`."""
    iterations = getattr(getattr(model, "optimizer", None), "iterations", None)
    return iterations is not None and int(iterations) > 0


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
}


def behind(baseline, history, name):
    """A sentence when the best of `history` under `name` is behind the better part of `baseline`, else `None`."""
    known = {part: values[name] for part, values in baseline.items() if name in values}
    measured = [(entry[name], -entry["epoch"]) for entry in history if name in entry]
    if not known or not measured:
        return None
    best, epoch = max(measured)
    part = max(known, key=known.get)
    if best >= known[part]:
        return None
    return (
        f"RecallAtK: {name} is {best:.1%} at best, after epoch {1 - epoch}, and so behind "
        f"{NAMES[part].format(known[part])}. Training loses what the model had. Try a "
        "smaller learning rate (for the backbone: `backbone_optimizer`), a frozen backbone, or fewer epochs."
    )
