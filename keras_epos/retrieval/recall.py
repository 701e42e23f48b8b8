"""Recall@K: the rank of the first positive, by counting."""

import numpy as np
from keras import ops

from keras_epos.retrieval.blocks import blocks, chunks
from keras_epos.retrieval.product import TIE, above


def best_positives(classes):
    """Similarity of each query to its nearest positive in float64 `(Q,)`, and its number of positives `(Q,)`."""
    queries, gallery = classes.queries, classes.gallery
    best = np.full(len(queries), -np.inf)
    num_positives = np.zeros(len(queries), np.int64)
    for some, window in classes.windows():
        references, ids = gallery.unit(window), gallery.ids[None, window]
        for rows in chunks(some, len(references)):
            positive = queries.ids[rows, None] != ids
            positive &= classes.block(rows, window)
            similarity = np.where(positive, queries.unit(rows) @ references.T, -np.inf)
            best[rows] = np.maximum(best[rows], similarity.max(axis=1))
            num_positives[rows] += positive.sum(axis=1)
    return best, num_positives


def recall_at(ranks, product, classes, index, best):
    """Recall@K over the queries `index` for each K of `ranks`; `best` are the similarities of their best positives."""
    ahead = _count_negatives_ahead(product, classes, index, best, max(ranks))
    return {f"recall@{rank}": int((ahead < rank).sum()) / len(index) for rank in ranks}


def _count_negatives_ahead(product, classes, index, best, limit):
    """How many negatives are at least as similar as the best positive, for the queries `index`: its rank less 1.

    Counts from `limit` on are cut short: they may be too low, yet not below `limit`.
    """
    ahead = np.zeros(len(best), np.int64)
    for rows in blocks(index, product.block_size):
        threshold = best[rows] - TIE
        low = (threshold - product.error).astype(np.float32)
        for start, similarity in product.by_block(rows):
            width = similarity.shape[1]
            negatives = _hide(classes.block(rows, slice(start, start + width)), similarity)
            query, reference, value = above(negatives, low)
            is_ahead = value > threshold[query] + product.error
            unsure = np.flatnonzero(~is_ahead)
            exact = product.exact(rows, start, width, query[unsure], reference[unsure])
            is_ahead[unsure] = exact >= threshold[query[unsure]]
            ahead[rows] += np.bincount(query[is_ahead], minlength=len(rows))
            low[ahead[rows] >= limit] = np.inf
    return ahead[index]


def _hide(positive, similarity):
    """Moves positives below every threshold. Where labels are sorted, most blocks are free of them."""
    if not positive.any():
        return similarity
    return ops.where(ops.convert_to_tensor(positive), -2.0, similarity)
