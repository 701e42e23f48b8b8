"""What needs the nearest references alone: Recall@K, MAP@R and R-precision, one value a query."""

import numpy as np

from keras_epos._rows import CHUNK, blocks, chunks
from keras_epos.retrieval._nearest import top
from keras_epos.retrieval._product import TIE, above


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
    """Recall@K of the queries `index` for each K of `ranks`; `best` are the similarities of their best positives."""
    ahead = _count_negatives_ahead(product, classes, index, best, max(ranks))
    return {f"recall@{rank}": (ahead < rank).astype(float) for rank in ranks}


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
            positive = classes.block(rows, slice(start, start + width))
            for query, reference, value in above(similarity, low):
                if positive.any():
                    is_negative = ~np.broadcast_to(positive, similarity.shape)[query, reference]
                    query, reference, value = query[is_negative], reference[is_negative], value[is_negative]
                is_ahead = value > threshold[query] + product.error
                unsure = np.flatnonzero(~is_ahead)
                exact = product.exact(rows, start, width, query[unsure], reference[unsure])
                is_ahead[unsure] = exact >= threshold[query[unsure]]
                ahead[rows] += np.bincount(query[is_ahead], minlength=len(rows))
            low[ahead[rows] >= limit] = np.inf
    return ahead[index]


def precision_at_r(product, classes, index, num_positives):
    """MAP@R and R-precision of the queries `index`."""
    queries, gallery = product.queries, product.gallery
    num_excluded = int(np.bincount(np.unique(gallery.ids, return_inverse=True)[1]).max())

    def key(rows, indices, similarity):
        # A positive that is not farther ahead than a tie comes after the negative, and the query itself last.
        positive = classes.pairs(rows, indices)
        itself = queries.ids[rows, None] == gallery.ids[indices]
        return np.where(itself, -np.inf, similarity - TIE * positive)

    found, average = np.empty(len(queries)), np.empty(len(queries))
    # Queries of similar R together: the largest R of a block decides how many references are fetched.
    size = max(1, min(product.block_size, 4 * CHUNK // int(num_positives.max())))
    for rows in blocks(index[np.argsort(num_positives[index], kind="stable")], size):
        width = num_positives[rows].max()
        indices = top(product, rows, int(width), num_excluded, key)[1]
        hit = classes.pairs(rows, indices)
        ranks = np.arange(1, width + 1)
        hit &= ranks <= num_positives[rows, None]
        found[rows] = hit.sum(axis=1) / num_positives[rows]
        average[rows] = (hit * np.cumsum(hit, axis=1) / ranks).sum(axis=1) / num_positives[rows]
    return {"map@r": average[index], "r_precision": found[index]}
