"""Mean squared distances between and within classes, from the means of their unit vectors alone.

For unit vectors the mean over all pairs has a closed form: with `mu` the mean of a class, not divided by its norm,

    d(p, q) = 2 - 2 <mu_p, mu_q>                 between the samples of two classes
    s(c)    = n / (n - 1) (2 - 2 |mu_c|^2)       between two samples of one class of n

so no pair of samples is ever looked at. All distances are squared, from 0 to 4.
"""

import numpy as np

# Rows that are divided by their norm at once: bounds the memory beside the embeddings.
_ROWS = 65536


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
    embeddings, labels = np.asarray(embeddings), integer_labels(labels)
    if embeddings.ndim != 2 or len(embeddings) != len(labels):
        raise ValueError(
            f"`embeddings` must have shape (N, D) with a row for each of {len(labels)} labels. "
            f"Received: embeddings of shape {embeddings.shape}."
        )
    classes, rows_of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.zeros((len(classes), embeddings.shape[1]))
    for start in range(0, len(labels), _ROWS):
        part = slice(start, start + _ROWS)
        np.add.at(sums, rows_of.reshape(-1)[part], _unit(embeddings[part]))
    return classes, counts, sums / counts[:, None]


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


def _unit(rows):
    rows = rows.astype(np.float64)
    if not np.isfinite(rows).all():
        raise ValueError("`embeddings` must be finite. Received: NaN or infinity.")
    # The largest entry first: the squares of huge or tiny rows would leave the range of floats.
    for scale in (np.abs(rows).max(axis=1, initial=0, keepdims=True), None):
        scale = np.linalg.norm(rows, axis=1, keepdims=True) if scale is None else scale
        rows = rows / np.where(scale == 0, 1, scale)
    return rows


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


def distances_between(means, others=None):
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
