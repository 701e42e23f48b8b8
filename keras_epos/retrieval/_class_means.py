"""Means over queries, and what the choice of classes does to them: intervals, comparisons and means of classes."""

import dataclasses
from typing import NamedTuple

import numpy as np

from keras_epos._checks import integer, number
from keras_epos._rows import check_labels, classes_of
from keras_epos.retrieval._class_draws import Tally, drawn, warn_of_few_classes
from keras_epos.retrieval._rates import interval_of

NONE = np.empty(0, np.int64)


class Difference(NamedTuple):
    """What a measure gained from the first run to the second, over the queries that both have a value for.

    Attributes:
        first, second: The means.
        difference: `second - first`.
        interval: `(low, high)` of the difference. If 0 is not in it, it is not by the choice of classes.
    """

    first: float
    second: float
    difference: float
    interval: tuple


@dataclasses.dataclass(frozen=True, eq=False)
class ByClass:
    """Means of each class, over its queries that have a match.

    Attributes:
        classes: The classes with such a query, sorted, `(C,)`.
        queries: How many each has, int64 `(C,)`.
        sizes: The sizes by which classes are small or large, `(C,)`.
        values: Dictionary of the means of each measure, float64 `(C,)`.
    """

    classes: np.ndarray
    queries: np.ndarray
    sizes: np.ndarray
    values: dict

    @property
    def macro(self):
        """The mean over classes of each measure, where a small class counts as much as a large one."""
        return {name: float(value.mean()) for name, value in self.values.items()}

    def tail(self, share=1 / 3):
        """The mean over the smallest classes: this share of them, with all that are as small as the last of them."""
        number("share", share, "(0, 1]", "a share")
        last = np.sort(self.sizes)[max(1, round(share * len(self.sizes))) - 1]
        return {name: float(value[self.sizes <= last].mean()) for name, value in self.values.items()}


def compare(first, second, labels, *, interval=0.95, seed=0):
    """Whether one run retrieves better than another, on the same queries: a paired bootstrap by class.

    Args:
        first, second: What `evaluate(..., per_query=True)` returned for the same queries in the same order. The
            galleries may differ.
        labels: Classes of the queries `(N,)`. They are drawn with replacement, with all their queries and for both runs
            alike, for queries of one class resemble each other.
        interval: In (0, 1): confidence of the intervals.
        seed: Integer of at least 0, of the bootstrap.

    Returns:
        Dictionary of `Difference` for each measure of both.

    Raises:
        ValueError: for results without values of queries, of other numbers of queries, or without a measure or a query
            in common.

    Examples:
        >>> generator = np.random.default_rng(0)
        >>> labels = np.repeat(np.arange(40), 5)
        >>> rows = generator.normal(size=(40, 8))[labels] + generator.normal(size=(200, 8))
        >>> runs = [keras_epos.retrieval.evaluate(part, labels, per_query=True) for part in (rows[:, :4], rows)]
        >>> gain = keras_epos.retrieval.compare(*runs, labels)["recall@1"]
        >>> gain.difference > 0 and gain.interval[0] > 0
        True
    """
    number("interval", interval, "(0, 1)", "a confidence")
    integer("seed", seed, 0)
    before, after = _per_query("first", first), _per_query("second", second)
    labels = check_labels("labels", labels, len(next(iter(before.values()))))
    names = [name for name in before if name in after]
    if not names or {len(value) for value in after.values()} != {len(labels)}:
        raise ValueError(
            f"`second` must have a measure of `first`, for the same {len(labels)} queries. Received: {list(before)} "
            f"and {list(after)} for {len(next(iter(after.values())))}."
        )
    found = {}
    for name in names:
        both = np.flatnonzero(~np.isnan(before[name]) & ~np.isnan(after[name]))
        if not len(both):
            raise ValueError(
                f"`second` must have a value for a query that `first` has one for. Received: none of {name}."
            )
        one, other = before[name][both], after[name][both]
        (ends,) = intervals_of({name: other - one}, labels[both], interval, seed).values()
        found[name] = Difference(float(one.mean()), float(other.mean()), float((other - one).mean()), ends)
    return found


def by_class(scores, labels, sizes=None):
    """Each measure class by class, its mean over classes, and that over the smallest classes.

    Args:
        scores: What `evaluate(..., per_query=True)` returned.
        labels: Classes, or categories, of the queries `(N,)`.
        sizes: Dictionary from a label to the size of its class, such as its number of training images, or `None` for
            the number of queries.

    Returns:
        `ByClass`.

    Raises:
        ValueError: for results without values of queries, labels that do not fit, and a class without a size.

    Examples:
        >>> labels = np.array([0, 0, 1, 1])
        >>> scores = keras_epos.retrieval.evaluate(np.eye(4)[[0, 0, 1, 2]], labels, k=1, per_query=True)
        >>> found = keras_epos.retrieval.by_class(scores, labels)
        >>> found.values["recall@1"].tolist(), found.macro["recall@1"]
        ([1.0, 0.0], 0.5)
    """
    values = _per_query("scores", scores)
    classes, codes = classes_of(labels, len(next(iter(values.values()))))
    matched = ~np.isnan(next(iter(values.values())))
    queries = np.bincount(codes[matched], minlength=len(classes))
    kept = queries > 0
    of_class = queries if sizes is None else _sizes(sizes, classes)
    means = {
        name: np.bincount(codes[matched], value[matched], minlength=len(classes))[kept] / queries[kept]
        for name, value in values.items()
    }
    return ByClass(classes[kept], queries[kept], of_class[kept], means)


def _sizes(sizes, classes):
    missing = [label for label in classes.tolist() if label not in sizes]
    if missing:
        raise ValueError(f"`sizes` must have the size of each class. Received: none for {missing[:5]}.")
    return np.array([sizes[label] for label in classes.tolist()])


def _per_query(name, scores):
    if not isinstance(scores, dict) or not scores.get("per_query"):
        raise ValueError(
            f"`{name}` must be what `evaluate(..., per_query=True)` returns. Received: "
            f"{list(scores) if isinstance(scores, dict) else type(scores).__name__}."
        )
    return scores["per_query"]


def intervals_of(values, labels, interval, seed):
    """`{name: (low, high)}` for the means of values `(N,)` of queries with labels `(N, ...)`; classes are drawn."""
    classes, codes = np.unique(labels, return_inverse=True, axis=0)
    codes = codes.reshape(-1)
    warn_of_few_classes(len(classes), stacklevel=4)
    sums = [np.bincount(codes, value, minlength=len(classes)) for value in (*values.values(), np.ones(len(codes)))]
    *sums, sizes = drawn([Tally(each, NONE, NONE, NONE) for each in sums], len(classes), seed)
    means = [float(value.mean()) for value in values.values()]
    return {
        name: interval_of(part / sizes, mean, interval) for name, part, mean in zip(values, sums, means, strict=True)
    }
