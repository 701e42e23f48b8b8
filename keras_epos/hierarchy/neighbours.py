"""The nearest classes of each class."""

import numpy as np

from keras_epos._checks import integer
from keras_epos.hierarchy.class_distances import distances_between

_ROWS = 1024


def nearest_classes(means, count):
    """The `count` nearest other classes of each class, nearest first; on a tie the one with the lower index.

    Looks at 1,024 classes at once, so memory does not grow with the square of their number.

    Args:
        means: Means of unit vectors `(C, D)`, see `class_means`.
        count: From 0 to `C - 1`.

    Returns:
        int64 `(C, count)`.

    Raises:
        ValueError: If there are not as many other classes.
    """
    means = np.asarray(means)
    size = len(means)
    integer("count", count, 0, size - 1, "A class has no more others.")
    found = np.zeros((size, count), np.int64)
    for start in range(0, size, _ROWS):
        distances = distances_between(means[start : start + _ROWS], means)
        rows = np.arange(len(distances))
        distances[rows, start + rows] = np.inf
        found[start : start + _ROWS] = _smallest(distances, count)
    return found


def _smallest(distances, count):
    if count == 0:
        return np.zeros((len(distances), 0), np.int64)
    bound = np.partition(distances, count - 1, axis=1)[:, count - 1 : count]
    candidates = distances.argpartition(count - 1, axis=1)[:, :count]
    # Which of several that are equally far comes in is left to chance by a partition.
    for row in np.flatnonzero(np.sum(distances <= bound, axis=1) > count):
        candidates[row] = np.argsort(distances[row], kind="stable")[:count]
    candidates = np.sort(candidates, axis=1)
    order = np.argsort(np.take_along_axis(distances, candidates, axis=1), axis=1, kind="stable")
    return np.take_along_axis(candidates, order, axis=1)
