"""k-reciprocal re-ranking as loops over sets and one dense matrix, from the paper."""

import functools

import numpy as np
from brute_force import unit

from keras_epos.retrieval import TIE


def reranked(queries, gallery, k1, k2, weight):
    """The similarity `(N, G)` of the re-ranking; without a gallery that of all queries."""
    rows = unit(queries if gallery is None else np.concatenate([queries, gallery]))
    similarity = rows @ rows.T
    size = len(rows)

    @functools.cache
    def near(p, k):
        others = [j for j in range(size) if j != p]
        return {p} | {j for j in others if np.sum(similarity[p, others] >= similarity[p, j] - TIE) <= k}

    def reciprocal(p, k):
        return {j for j in near(p, k) if p in near(j, k)}

    full, half = ([reciprocal(p, k) for p in range(size)] for k in (k1, k1 // 2))
    weights = np.zeros((size, size))
    for p in range(size):
        members = set(full[p])
        for q in full[p]:
            if len(full[p] & half[q]) >= 2 / 3 * len(half[q]) - 1e-9:
                members |= half[q]
        for j in members:
            weights[p, j] = 1 if j == p else np.exp(-(1 - similarity[p, j]))
    weights = np.array([weights[sorted(near(p, k2 - 1))].mean(axis=0) for p in range(size)])
    ours, theirs = slice(len(queries)), slice(0 if gallery is None else len(queries), None)
    least = np.minimum(weights[ours, None], weights[None, theirs]).sum(axis=2)
    most = np.maximum(weights[ours, None], weights[None, theirs]).sum(axis=2)
    return weight * similarity[ours, theirs] + (1 - weight) * least / most
