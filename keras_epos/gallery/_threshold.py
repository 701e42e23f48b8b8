"""The threshold of a gallery: a number, or what a calibration returns."""

from typing import Any, NamedTuple

from keras_epos._checks import number


class Threshold(NamedTuple):
    """A calibrated threshold as a gallery keeps it.

    Attributes:
        value: Similarity from which on a match is accepted.
        interval: `(low, high)` of `value`, or `None`.
        per_class: `{label: threshold}` for the labels that have one of their own, or `None`.
        config: What the `get_config()` of the threshold that was given said, or `None`.
    """

    value: float
    interval: Any = None
    per_class: Any = None
    config: Any = None

    def get_config(self):
        return self.config


def checked(threshold):
    """`threshold` as it came, if it is `None`, a number or has a `value`."""
    if threshold is None:
        return None
    hint = "Pass a cosine similarity, or what `keras_epos.calibrate` returns."
    number("threshold", getattr(threshold, "value", threshold), "[-1, 1]", "a cosine similarity", hint)
    for label, value in (getattr(threshold, "per_class", None) or {}).items():
        number(f"threshold.per_class[{label!r}]", value, "[-1, 1]", "a cosine similarity")
    return threshold if hasattr(threshold, "value") else float(threshold)


def limits(threshold, labels):
    """The similarity from which on a match of each label is accepted."""
    value = getattr(threshold, "value", threshold)
    per_class = getattr(threshold, "per_class", None) or {}
    return [float(per_class.get(label, value)) for label in labels]


def to_json(threshold):
    if threshold is None or isinstance(threshold, float):
        return threshold
    interval, per_class = getattr(threshold, "interval", None), getattr(threshold, "per_class", None)
    return {
        "value": float(threshold.value),
        "interval": None if interval is None else [float(end) for end in interval],
        # Pairs, for JSON has no integers as keys.
        "per_class": None if per_class is None else [[_plain(label), float(one)] for label, one in per_class.items()],
        "config": threshold.get_config() if hasattr(threshold, "get_config") else None,
    }


def of_json(stored):
    if not isinstance(stored, dict):
        return stored
    interval, per_class = stored["interval"], stored["per_class"]
    return Threshold(
        stored["value"],
        None if interval is None else tuple(interval),
        None if per_class is None else dict(map(tuple, per_class)),
        stored["config"],
    )


def _plain(label):
    return label.item() if hasattr(label, "item") else label
