"""What a loss is made of, and its gradient from the pair weights."""

from typing import NamedTuple

import numpy as np

from keras_epos.reference._similarity import unit

# What is no more than this above 0 is there by rounding, say of the similarity of two copies.
ROUNDING = 16 * np.finfo("float64").eps


class Terms(NamedTuple):
    """What a loss is made of, for each anchor.

    Attributes:
        total: `(B,)`, the sum of the anchor's terms.
        valid: `(B,)`, how many terms it has.
        active: `(B,)`, how many of them have a gradient.
        weights: `(B, B)`, derivative of `total[a]` by the cosine similarity of `a` and `j`.
    """

    total: np.ndarray
    valid: np.ndarray
    active: np.ndarray
    weights: np.ndarray

    def mean(self, average_over="valid"):
        """Mean over the `"valid"` or over the `"active"` terms of the batch; 0 without any."""
        return self.total.sum() / max(getattr(self, average_over).sum(), 1)


def empty_terms(size):
    return Terms(np.zeros(size), np.zeros(size), np.zeros(size), np.zeros((size, size)))


def add_hinge(terms, anchor, reference, value, weight):
    """Add the term `max(0, value)` of an anchor, whose derivative by the similarity to `reference` is `weight`."""
    terms.total[anchor] += hinge(value)
    terms.valid[anchor] += 1
    terms.active[anchor] += hinge(value) > 0
    terms.weights[anchor, reference] = weight * (hinge(value) > 0)


def hinge(value):
    """`max(0, value)`, with 0 for what is above it by rounding."""
    return value if value > ROUNDING else 0


def gradient(terms, embeddings, average_over="valid", normalize=True):
    """Gradient of `terms.mean(average_over)` by the embeddings, from the pair weights.

    Each pair weight pulls or pushes both of its rows; what is left is the derivative of dividing by the norm.
    Rows of zeros get 0. With `normalize=False` the weights are derivatives by inner products of raw rows.
    """
    embeddings = np.asarray(embeddings, "float64")
    rows = unit(embeddings) if normalize else embeddings
    weights = terms.weights / max(getattr(terms, average_over).sum(), 1)
    by_rows = (weights + weights.T) @ rows
    return through_norm(by_rows, embeddings) if normalize else by_rows


def through_norm(by_unit_rows, vectors):
    """Derivative by vectors, given that by the vectors divided by their norms; 0 for a vector of zeros."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = unit(vectors)
    along = np.sum(by_unit_rows * rows, axis=1, keepdims=True)
    return np.where(norms == 0, 0, (by_unit_rows - along * rows) / np.where(norms == 0, 1, norms))


def numerical_gradient(function, embeddings, step=1e-6):
    """Central differences of the scalar `function(embeddings)`, for whoever trusts no derivation."""
    embeddings = np.asarray(embeddings, "float64")
    found = np.zeros_like(embeddings)
    for index in np.ndindex(*embeddings.shape):
        up, down = embeddings.copy(), embeddings.copy()
        up[index] += step
        down[index] -= step
        found[index] = (function(up) - function(down)) / (2 * step)
    return found
