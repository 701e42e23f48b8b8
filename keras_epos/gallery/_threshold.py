"""The threshold of a gallery: a cosine similarity, or what a calibration returns."""

from keras_epos._checks import number
from keras_epos.retrieval import Threshold


def checked(threshold):
    """`threshold` as it came, if it is `None`, a similarity or a `Threshold`."""
    if threshold is None:
        return None
    is_calibrated = isinstance(threshold, Threshold)
    hint = "Pass a number, or what `keras_epos.calibrate` returns."
    number("threshold", threshold.value if is_calibrated else threshold, "[-1, 1]", "a cosine similarity", hint)
    for label, value in ((is_calibrated and threshold.per_class) or {}).items():
        number(f"threshold.per_class[{label!r}]", value, "[-1, 1]", "a cosine similarity")
    return threshold if is_calibrated else float(threshold)


def limits(threshold, labels):
    """The similarity from which on a match of each label is accepted."""
    return [threshold.of(label) if isinstance(threshold, Threshold) else threshold for label in labels]


def to_json(threshold):
    return threshold.get_config() if isinstance(threshold, Threshold) else threshold


def of_json(stored):
    return Threshold.from_config(stored) if isinstance(stored, dict) else stored
