"""A threshold with what is known about it."""

import dataclasses
from typing import NamedTuple

import numpy as np


class Curve(NamedTuple):
    """What other thresholds would give: float64 arrays `(K,)`, false-accept rates rising.

    Attributes:
        thresholds: Cosine similarities.
        false_accept_rate: Share of unknown queries that are accepted.
        identification_rate: Share of known queries that are accepted with their class: the detection-and-identification
            rate at rank 1.
    """

    thresholds: np.ndarray
    false_accept_rate: np.ndarray
    identification_rate: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Threshold:
    """The similarity from which on a match is accepted, as `calibrate` found it, and the errors that belong to it.

    An unknown query is one whose class is not in the gallery, a known one is one whose class is.

    Attributes:
        value: Cosine similarity; a match of at least this is accepted.
        interval: `(low, high)`: the thresholds at which the measured curve meets the two ends of the interval of the
            wanted rate (Woodruff 1952).
        false_accept_rate: Share of unknown queries that are accepted.
        false_accept_interval: `(low, high)` of that share for new classes.
        false_reject_rate: Share of known queries that are refused.
        misidentified: Share of known queries that are accepted with the wrong label. The rest of them is found.
        precision: Share of right labels among the accepted queries, when `unknown_share` of all queries are unknown.
        precision_interval: `(low, high)` of that share for new classes.
        curve: The `Curve` of up to 200 other thresholds.
        per_class: Dictionary of Python integers or strings to thresholds, or `None`. Errors are those with them.
        goal: `"false_accept_rate"` or `"precision"`: what was wanted.
        wanted: How much of it.
        unknown_share: As in `calibrate`.
        confidence: Of the intervals, such as 0.95.
        num_queries: Number of queries.
        num_unknown: Number of queries that were unknown ones, or played one.
        num_classes: Number of classes the queries are of.

    Reference: Woodruff 1952, https://doi.org/10.1080/01621459.1952.10483443.

    Examples:
        >>> generator = np.random.default_rng(0)
        >>> labels = np.repeat(np.arange(50), 20)
        >>> rows = generator.normal(size=(50, 16))[labels] + 0.5 * generator.normal(size=(1000, 16))
        >>> threshold = keras_epos.calibrate(rows, labels, false_accept_rate=0.05)
        >>> keras_epos.retrieval.Threshold.from_config(threshold.get_config()) == threshold
        True
    """

    value: float
    interval: tuple
    false_accept_rate: float
    false_accept_interval: tuple
    false_reject_rate: float
    misidentified: float
    precision: float
    precision_interval: tuple
    curve: Curve
    per_class: dict | None
    goal: str
    wanted: float
    unknown_share: float
    confidence: float
    num_queries: int
    num_unknown: int
    num_classes: int

    @property
    def identification_rate(self):
        """Share of known queries that are accepted with their class."""
        return max(0.0, 1 - self.false_reject_rate - self.misidentified)

    def of(self, label):
        """The threshold of a match with a reference of this label: its own if it has one, else `value`."""
        return self.value if self.per_class is None else self.per_class.get(label, self.value)

    def get_config(self):
        """All of it as plain JSON values. `per_class` is a list of pairs, so that integer labels stay integers."""
        config = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in ("interval", "false_accept_interval", "precision_interval"):
            config[name] = list(config[name])
        config["curve"] = {name: values.tolist() for name, values in self.curve._asdict().items()}
        if self.per_class is not None:
            config["per_class"] = [[label, value] for label, value in self.per_class.items()]
        return config

    @classmethod
    def from_config(cls, config):
        """The threshold that `get_config` was asked of.

        Raises:
            ValueError: If an entry is missing or unknown.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if names != set(config):
            raise ValueError(
                f"`config` must be what `get_config` returns. Received: missing={sorted(names - set(config))}, "
                f"unknown={sorted(set(config) - names)}."
            )
        config = dict(config)
        for name in ("interval", "false_accept_interval", "precision_interval"):
            config[name] = tuple(config[name])
        config["curve"] = Curve(**{name: np.array(values, np.float64) for name, values in config["curve"].items()})
        if config["per_class"] is not None:
            config["per_class"] = dict(config["per_class"])
        return cls(**config)

    def plot(self, path=None):
        """Draw the curve with the threshold on it, and the intervals as bands.

        Args:
            path: File to write, such as `"threshold.png"`, or `None`.

        Returns:
            The figure of matplotlib.

        Raises:
            ImportError: If matplotlib is missing.
        """
        from keras_epos.retrieval._threshold_plot import draw

        return draw(self, path)

    def __eq__(self, other):
        return isinstance(other, Threshold) and self.get_config() == other.get_config()

    __hash__ = None

    def __repr__(self):
        name = self.goal.replace("false_accept_rate", "false-accept rate")
        own = "" if self.per_class is None else f", {len(self.per_class)} classes with a threshold of their own"
        return (
            f"Threshold {self.value:.4f} ({_span(self.interval, '{:.4f}'.format)}), for a {name} of "
            f"{percent(self.wanted)}{own}\n"
            f"  unknown queries: {percent(self.false_accept_rate)} accepted "
            f"({_span(self.false_accept_interval, percent)}); known queries: "
            f"{percent(self.identification_rate)} found, {percent(self.false_reject_rate)} refused, "
            f"{percent(self.misidentified)} misidentified\n"
            f"  {self.num_queries:,} queries of {self.num_classes:,} classes, {self.num_unknown:,} of them as unknown; "
            f"intervals of {percent(self.confidence)}"
        )


def _span(interval, shown):
    low, high = interval
    return f"{shown(low)} to {shown(high)}"


def percent(share):
    """A share for a reader, in three digits."""
    return f"{100 * share:.3g} %"
