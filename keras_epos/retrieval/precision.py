"""MAP@R and R-precision: the first R references."""

import math

import numpy as np

from keras_epos.retrieval.blocks import CHUNK, blocks
from keras_epos.retrieval.product import TIE
from keras_epos.retrieval.top import top


def precision_at_r(product, classes, index, num_positives):
    """Means of MAP@R and R-precision over the queries `index`."""
    queries, gallery = product.queries, product.gallery
    num_excluded = int(np.bincount(np.unique(gallery.ids, return_inverse=True)[1]).max())

    def key(rows, indices, similarity):
        # A positive that is not farther ahead than a tie comes after the negative, and the query itself last.
        positive = classes.pairs(rows, indices)
        itself = queries.ids[rows, None] == gallery.ids[indices]
        return np.where(itself, -np.inf, similarity - TIE * positive)

    found, average = [], []
    # Queries of similar R together: the largest R of a block decides how many references are fetched.
    size = max(1, min(product.block_size, 4 * CHUNK // int(num_positives.max())))
    for rows in blocks(index[np.argsort(num_positives[index], kind="stable")], size):
        width = num_positives[rows].max()
        indices = top(product, rows, int(width), num_excluded, key)[1]
        hit = classes.pairs(rows, indices)
        ranks = np.arange(1, width + 1)
        hit &= ranks <= num_positives[rows, None]
        found.extend(hit.sum(axis=1) / num_positives[rows])
        average.extend((hit * np.cumsum(hit, axis=1) / ranks).sum(axis=1) / num_positives[rows])
    return {"map@r": math.fsum(average) / len(index), "r_precision": math.fsum(found) / len(index)}
