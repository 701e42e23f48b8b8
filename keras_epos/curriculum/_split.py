"""The split of every class into clean, noisy and highly noisy samples."""

import numpy as np

from keras_epos._checks import integer
from keras_epos._rows import classes_of, members_of
from keras_epos.curriculum._density import check_density, density
from keras_epos.curriculum._parts import Parts

# Numbers closer than this share of the largest one are equal but for rounding.
TIE = 1e-12


def split(embeddings, labels, num_parts=3, rule="quantile", **arguments):
    """Split every class by the density of its samples, as CurriculumNet does.

    The embeddings come from a model that was trained on all samples with their noisy labels. What is dense there is
    taken for rightly labeled. Where classes have rare looks choose `rule="agreement"`; see
    `keras_epos.curriculum.density`.

    Args:
        embeddings: Finite floats `(N, D)`, taken as they are; distances are Euclidean.
        labels: Integers or strings `(N,)`: the classes, as observed.
        num_parts: Parts of a class, at least 1.
        rule: `"quantile"`, `"gaussian"`, `"nearest"` or `"agreement"`.
        arguments: All others of `keras_epos.curriculum.density`.

    Returns:
        `Parts`.

    Raises:
        ValueError: for shapes that do not fit, embeddings that are not finite, or arguments out of range.

    Reference: Guo et al. 2018, https://arxiv.org/abs/1808.01097.

    Examples:
        >>> parts = keras_epos.curriculum.split(embeddings, labels, rule="nearest")
        >>> len(parts)
        40
    """
    integer("num_parts", num_parts, 1)
    return split_by(density(embeddings, labels, rule, **arguments), labels, num_parts)


def split_by(density, labels, num_parts=3):
    """Split every class by densities that are known, from any source.

    The parts of a class are the clusters of the exact k-means of its densities: the densest cluster is part 0. A class
    of fewer distinct densities has fewer parts, counted from 0: equal samples, or one alone, are all clean.

    Args:
        density: Finite floats `(N,)`; larger is cleaner.
        labels: Integers or strings `(N,)`.
        num_parts: At least 1.

    Returns:
        `Parts`.

    Raises:
        ValueError: for shapes that do not fit, densities that are not finite, or `num_parts` out of range.
    """
    integer("num_parts", num_parts, 1)
    density = check_density(density, labels)
    parts = np.zeros(len(density), np.int64)
    for members in members_of(classes_of(labels, len(density))[1]):
        bounds = cluster_bounds(density[members], num_parts)
        parts[members] = len(bounds) - np.searchsorted(bounds, density[members], side="right")
    return Parts(np.asarray(labels).reshape(-1), density, parts, int(num_parts))


def cluster_bounds(values, num_clusters=3):
    """The smallest value of each of the clusters with the least sum of squared distances to their means.

    On a line clusters are intervals, so the best ones are found exactly, without starts or seeds, in `O(k n log n)`
    time and `O(k n)` memory. Equal values share a cluster. Of several best ways the one whose last cluster is largest.

    Args:
        values: Finite floats `(n,)`, `n >= 1`.
        num_clusters: k, at least 1. Fewer distinct values make as many clusters as there are.

    Returns:
        Floats `(k,)` or fewer, rising.

    Reference: Wang and Song 2011, https://doi.org/10.32614/RJ-2011-015 (the dynamic program).
    """
    distinct, counts = _distinct(np.asarray(values, np.float64))
    num_clusters = min(num_clusters, len(distinct))
    cost = _cost_of_interval(distinct, counts)
    last = np.arange(len(distinct))
    least, starts = cost(np.zeros_like(last), last), []
    for _ in range(num_clusters - 1):
        least, start = _add_cluster(least, cost)
        starts.append(start)
    bounds, end = [], len(distinct) - 1
    for start in reversed(starts):
        bounds.append(start[end])
        end = start[end] - 1
    return distinct[np.array([*bounds, 0])[::-1]]


def _distinct(values):
    """Distinct values, rising, and how often they come; of a run of ties the smallest."""
    ordered = np.sort(values)
    tie = TIE * np.abs(ordered).max()
    starts = np.flatnonzero(np.diff(ordered, prepend=-np.inf) > tie)
    return ordered[starts], np.diff(np.append(starts, len(ordered)))


def _cost_of_interval(distinct, counts):
    """Function of first and last position: the sum of squared distances to the mean of what is between."""
    centered = distinct - np.average(distinct, weights=counts)
    weight, total, square = (
        np.concatenate([[0.0], np.cumsum(counts * power)]) for power in (1.0, centered, centered * centered)
    )

    def cost(first, last):
        inside = total[last + 1] - total[first]
        return np.maximum(square[last + 1] - square[first] - inside**2 / (weight[last + 1] - weight[first]), 0)

    return cost


def _add_cluster(least, cost):
    """The least cost up to each position with one cluster more, and where that cluster starts.

    The best start never moves left as the end moves right, so ends are solved in halves: first the middle one, then
    those between, which only look between the starts of their neighbors.
    """
    size = len(least)
    before = np.concatenate([[np.inf], least[:-1]])
    result, start = np.empty(size), np.empty(size, np.int64)
    step = 1 << (size - 1).bit_length()
    while step:
        ends = np.arange(step - 1, size, 2 * step)
        low = np.where(ends >= step, start[np.maximum(ends - step, 0)], 0)
        high = np.where(ends + step < size, start[np.minimum(ends + step, size - 1)], ends)
        lengths = np.minimum(high, ends) - low + 1
        offsets = np.cumsum(lengths) - lengths
        candidates = np.arange(lengths.sum()) - np.repeat(offsets - low, lengths)
        costs = before[candidates] + cost(candidates, np.repeat(ends, lengths))
        result[ends] = np.minimum.reduceat(costs, offsets)
        is_best = np.flatnonzero(costs == np.repeat(result[ends], lengths))
        start[ends] = candidates[is_best[np.searchsorted(is_best, offsets)]]
        step //= 2
    return result, start
