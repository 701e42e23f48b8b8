"""The nearest references of each query."""

import numpy as np

from keras_epos._checks import integer
from keras_epos.retrieval.blocks import blocks
from keras_epos.retrieval.checks import check_same_dim, check_within
from keras_epos.retrieval.product import Product
from keras_epos.retrieval.sides import Side
from keras_epos.retrieval.top import top


def nearest(queries, gallery=None, k=10, *, exclude_self=None, block_size=1024):
    """The `k` references most similar to each query, exactly, in blocks.

    Args:
        queries: Finite floats `(N, D)` of any scale, normalised here.
        gallery: `(G, D)`, or `None` to search the queries among themselves.
        k: Integer from 1 to the number of references of a query.
        exclude_self: Whether row `i` of the gallery is left out for query `i`, by position. By default it is when
            there is no gallery.
        block_size: Queries compared at once.

    Returns:
        `(similarity, indices)`: cosine similarities, float32 `(N, k)` from -1 to 1 in falling order, and rows of the
        gallery, int64 `(N, k)`. Among equal similarities the order is not specified.

    Raises:
        ValueError: for shapes that do not fit, NaN or infinite embeddings, or `k` beyond the gallery.

    Examples:
        >>> similarity, indices = keras_epos.retrieval.nearest(np.eye(3)[[0, 0, 1]], k=1)
        >>> indices[:2, 0]
        array([1, 0])
    """
    if exclude_self is None:
        exclude_self = gallery is None
    integer("block_size", block_size, 1)
    integer("k", k, 1)
    query_side = Side("queries", queries)
    gallery_side = query_side if gallery is None else Side("gallery", gallery)
    check_same_dim(query_side, gallery_side)
    check_within((k,), len(gallery_side) - int(exclude_self), "Pass a smaller `k`, or a larger gallery.")

    def key(rows, indices, similarity):
        return np.where(indices == rows[:, None], -np.inf, similarity) if exclude_self else similarity

    product = Product(query_side, gallery_side, block_size)
    similarity = np.empty((len(query_side), k), np.float32)
    indices = np.empty((len(query_side), k), np.int64)
    for rows in blocks(np.arange(len(query_side)), block_size):
        similarity[rows], indices[rows] = top(product, rows, k, int(exclude_self), key)
    return similarity, indices
