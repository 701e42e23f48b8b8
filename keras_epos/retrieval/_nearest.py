"""The nearest references of each query."""

import numpy as np

from keras_epos._checks import integer
from keras_epos._rows import Rows, blocks, chunks
from keras_epos.retrieval._checks import check_same_dim, check_within
from keras_epos.retrieval._product import Product

# References fetched beyond those asked for, so that near-ties at the border seldom need the exact path.
SPARE = 8


def nearest(queries, gallery=None, k=10, *, exclude_self=None, block_size=1024):
    """The `k` references most similar to each query, exactly, in blocks.

    Args:
        queries: Finite floats `(N, D)` of any scale, normalized here.
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
    query_side = Rows(queries, name="queries")
    gallery_side = query_side if gallery is None else Rows(gallery, name="gallery")
    check_same_dim(query_side, gallery_side)
    return nearest_of(Product(query_side, gallery_side, block_size), k, exclude_self)


def nearest_of(product, k, exclude_self):
    """`nearest` by the similarities of a `Product`."""
    integer("k", k, 1)
    check_within((k,), len(product.gallery) - int(exclude_self), "Pass a smaller `k`, or a larger gallery.")

    def key(rows, indices, similarity):
        return np.where(indices == rows[:, None], -np.inf, similarity) if exclude_self else similarity

    similarity = np.empty((len(product.queries), k), np.float32)
    indices = np.empty((len(product.queries), k), np.int64)
    for rows in blocks(np.arange(len(product.queries)), product.block_size):
        similarity[rows], indices[rows] = top(product, rows, k, int(exclude_self), key)
    return similarity, indices


def top(product, rows, count, num_excluded, key):
    """The `count` references with the largest `key`, in falling order: `(keys, indices)`, float64 and int64.

    `key(rows, indices, similarity)` may only lower a similarity: by rounding, or to -inf for `num_excluded`
    references of a query at most.
    """
    width = count + num_excluded + SPARE
    if width > len(product.gallery) // 4:
        return _top_of_all(product, rows, count, key)
    indices, cutoff = product.candidates(rows, width)
    exact = product.exact_rows(rows, indices)
    keys, indices = _sort(key(rows, indices, exact), indices, count)
    # A reference that was not fetched is at most this similar, so a last key beyond it is certain.
    unsure = np.flatnonzero(keys[:, -1] <= cutoff + product.error)
    if len(unsure):
        keys[unsure], indices[unsure] = _top_of_all(product, rows[unsure], count, key)
    return keys, indices


def _top_of_all(product, rows, count, key):
    """`top` from similarities to the whole gallery in float64: for small galleries, large classes and many ties."""
    keys, indices = np.empty((len(rows), count)), np.empty((len(rows), count), np.int64)
    everything = np.arange(len(product.gallery))[None, :]
    # Four arrays of this size are alive at once.
    for part in chunks(np.arange(len(rows)), 4 * len(product.gallery)):
        block = key(rows[part], everything, product.whole_rows(rows[part]))
        chosen = np.argpartition(-block, count - 1, axis=1)[:, :count]
        keys[part], indices[part] = _sort(np.take_along_axis(block, chosen, axis=1), chosen, count)
    return keys, indices


def _sort(keys, indices, count):
    order = np.argsort(-keys, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(keys, order, axis=1), np.take_along_axis(indices, order, axis=1)
