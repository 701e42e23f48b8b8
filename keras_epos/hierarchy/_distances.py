"""Mean squared distances between and within classes, from the means of their unit vectors alone.

For unit vectors the mean over all pairs has a closed form: with `mu` the mean of a class, not divided by its norm,

    d(p, q) = 2 - 2 <mu_p, mu_q>                 between the samples of two classes
    s(c)    = n / (n - 1) (2 - 2 |mu_c|^2)       between two samples of one class of n

so no pair of samples is ever looked at. All distances are squared, from 0 to 4.
"""

import numpy as np

from keras_epos._checks import integer
from keras_epos._rows import Rows

# Classes that are compared with all others at once.
_CLASSES = 1024


def class_means(embeddings, labels):
    """Mean of the unit vectors of each class.

    Args:
        embeddings: Floats `(N, D)` of any length; a row of zeros counts as orthogonal to everything.
        labels: Integers `(N,)` or `(N, 1)`.

    Returns:
        `(classes, counts, means)`: the distinct labels in ascending order `(C,)`, how many samples each has `(C,)`, and
        float64 `(C, D)`.

    Raises:
        ValueError: If the shapes do not fit, labels are not integers, or an embedding is not finite.
    """
    rows = Rows(embeddings, integer_labels(labels))
    return rows.classes, rows.counts, rows.sums(rows.labels, len(rows.classes)) / rows.counts[:, None]


def integer_labels(labels):
    """Labels as an array `(N,)`; raises a `ValueError` unless they are integers."""
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        raise ValueError(
            "`labels` must be integers of shape (N,), at least one. "
            f"Received: labels of dtype {labels.dtype} and shape {labels.shape}."
        )
    return labels


def spread_within(means, counts):
    """Mean squared distance of two samples of a class, `s`: float64 `(C,)`; 0 for a class of a single sample.

    Args:
        means: Means of unit vectors `(C, D)`, see `class_means`.
        counts: Samples of each class `(C,)`.
    """
    means, counts = np.asarray(means, np.float64), np.asarray(counts)
    # Rounding can make the mean of equal vectors a little longer than 1.
    biased = np.maximum(2 - 2 * np.sum(np.square(means), axis=1), 0)
    return np.where(counts > 1, biased * counts / np.maximum(counts - 1, 1), 0.0)


def squared_distances(means, others=None):
    """Mean squared distance of the samples of two classes, `d`, for all of them: float64 `(C, C')`.

    Args:
        means: Means of unit vectors `(C, D)`, see `class_means`.
        others: Those of the classes to compare with, `(C', D)`; by default all of `means`. The diagonal is then
            the mean over all ordered pairs of a class, each sample with itself among them.
    """
    means = np.asarray(means, np.float64)
    distances = means @ (means if others is None else np.asarray(others, np.float64)).T
    distances *= -2
    distances += 2
    return np.clip(distances, 0, 4, out=distances)


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
    for start in range(0, size, _CLASSES):
        distances = squared_distances(means[start : start + _CLASSES], means)
        rows = np.arange(len(distances))
        distances[rows, start + rows] = np.inf
        found[start : start + _CLASSES] = _smallest(distances, count)
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
