"""Similarities and distances of rows."""

import numpy as np

# Distances below are taken for this one, at which a gradient still exists: the root has none at 0.
SMALLEST_DISTANCE = 1e-4


def unit(embeddings):
    """Rows divided by their norm; rows of zeros stay zero."""
    embeddings = np.asarray(embeddings, "float64")
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(norms == 0, 1, norms)


def cosine(embeddings):
    rows = unit(embeddings)
    return rows @ rows.T


def distance(embeddings):
    """Euclidean distances between the unit rows; the root of 2 from a row of zeros, whose similarities are all 0."""
    rows = unit(embeddings)
    is_zero = ~rows.any(axis=1)
    either = (is_zero[:, None] | is_zero[None]) & ~np.eye(len(rows), dtype=bool)
    return np.where(either, np.sqrt(2), np.linalg.norm(rows[:, None] - rows[None], axis=-1))


def nearness(embeddings, metric):
    """More is nearer: `(s, ds/dS)`, the similarity or the negated distance and its slope by the cosine `S`."""
    d = distance(embeddings)
    if metric == "cosine":
        return cosine(embeddings), np.ones_like(d)
    if metric == "squared_euclidean":
        return -np.square(d), np.full_like(d, 2.0)
    at_least = np.maximum(d, SMALLEST_DISTANCE)
    return -at_least, np.where(d > SMALLEST_DISTANCE, 1 / at_least, 0.0)
