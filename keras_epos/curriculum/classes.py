"""The samples of one class after another."""

import numpy as np
from keras import ops

from keras_epos.retrieval.checks import check_labels

# Squares of larger numbers may not fit into float64.
LARGEST = 1e150


def class_codes(labels, num_samples):
    """Labels as integers from 0 on, int64 `(N,)`, in the order of the sorted labels."""
    labels = check_labels("labels", labels, num_samples)
    return np.unique(labels, return_inverse=True)[1].reshape(-1)


def members_of_classes(codes):
    """Sample indices of each class, one array a class."""
    return np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])


def classes_of(embeddings, labels, principal_dim=None):
    """Yields `(members, rows)` of each class: sample indices `(n,)` and centred float64 rows `(n, D)`.

    With `principal_dim` rows of more dimensions are turned into their first principal components.
    """
    embeddings = _checked(embeddings)
    for members in members_of_classes(class_codes(labels, len(embeddings))):
        rows = embeddings[members].astype(np.float64)
        rows -= rows.mean(axis=0)
        yield members, _principal(rows, principal_dim)


def _checked(embeddings):
    """Embeddings as an array `(N, D)` of numbers, on the scale they have."""
    if not isinstance(embeddings, (np.ndarray, list, tuple)):
        embeddings = ops.convert_to_numpy(embeddings)
    embeddings = np.asarray(embeddings)
    if embeddings.ndim != 2 or 0 in embeddings.shape or embeddings.dtype.kind not in "fiub":
        raise ValueError(
            f"`embeddings` must be numbers of shape (N, D). Received: embeddings of dtype {embeddings.dtype} and shape "
            f"{embeddings.shape}."
        )
    extremes = float(embeddings.min()), float(embeddings.max())
    if not max(map(abs, extremes)) < LARGEST:
        raise ValueError(
            f"`embeddings` must be finite and below {LARGEST:g}. Received: numbers from {extremes[0]} to {extremes[1]}."
        )
    return embeddings


def _principal(rows, dim):
    if dim is None or rows.shape[1] <= dim:
        return rows
    _, directions = np.linalg.eigh(rows.T @ rows)
    return rows @ directions[:, -dim:]


def check_density(density, labels):
    density = np.asarray(density, np.float64)
    if density.shape != (len(labels),) or not np.isfinite(density).all():
        raise ValueError(
            f"`density` must be a finite number for each of {len(labels)} labels. Received: density of shape "
            f"{density.shape}."
        )
    return density
