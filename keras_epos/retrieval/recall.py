"""Recall@K: the rank of the first positive, by counting."""

import numpy as np
from keras import ops

from keras_epos.retrieval.blocks import blocks, chunks
from keras_epos.retrieval.product import TIE, above


def best_positives(queries, gallery):
    """Similarity of each query to its nearest positive in float64 `(Q,)`, and its number of positives `(Q,)`."""
    best = np.full(len(queries), -np.inf)
    num_positives = np.zeros(len(queries), np.int64)
    starts = np.flatnonzero(np.diff(queries.labels, prepend=queries.labels[0] - 1))
    first = np.searchsorted(gallery.labels, queries.labels[starts], "left")
    last = np.searchsorted(gallery.labels, queries.labels[starts], "right")
    for start, stop, low, high in zip(starts, [*starts[1:], len(queries)], first, last, strict=True):
        if low == high:
            continue
        window = gallery.unit(slice(low, high))
        for rows in chunks(np.arange(start, stop), high - low):
            positive = queries.ids[rows, None] != gallery.ids[None, low:high]
            similarity = np.where(positive, queries.unit(rows) @ window.T, -np.inf)
            best[rows] = similarity.max(axis=1)
            num_positives[rows] = positive.sum(axis=1)
    return best, num_positives


def recall_at(ranks, product, index, best):
    """Recall@K over the queries `index` for each K of `ranks`; `best` are the similarities of their best positives."""
    ahead = _count_negatives_ahead(product, index, best, max(ranks))
    return {f"recall@{rank}": int((ahead < rank).sum()) / len(index) for rank in ranks}


def _count_negatives_ahead(product, index, best, limit):
    """How many negatives are at least as similar as the best positive, for the queries `index`: its rank less 1.

    Counts from `limit` on are cut short: they may be too low, yet not below `limit`.
    """
    ahead = np.zeros(len(best), np.int64)
    for rows in blocks(index, product.block_size):
        threshold = best[rows] - TIE
        low = (threshold - product.error).astype(np.float32)
        for start, similarity in product.by_block(rows):
            query, reference, value = above(_hide_positives(product, rows, start, similarity), low)
            is_ahead = value > threshold[query] + product.error
            unsure = np.flatnonzero(~is_ahead)
            exact = product.exact(rows, start, similarity.shape[1], query[unsure], reference[unsure])
            is_ahead[unsure] = exact >= threshold[query[unsure]]
            ahead[rows] += np.bincount(query[is_ahead], minlength=len(rows))
            low[ahead[rows] >= limit] = np.inf
    return ahead[index]


def _hide_positives(product, rows, start, similarity):
    """Moves references of the query's class below every threshold. Sorted labels make most blocks free of them."""
    labels = product.queries.labels[rows]
    references = product.gallery.labels[start : start + similarity.shape[1]]
    if labels[-1] < references[0] or references[-1] < labels[0]:
        return similarity
    same = labels[:, None] == references[None, :]
    return ops.where(ops.convert_to_tensor(same), -2.0, similarity)
