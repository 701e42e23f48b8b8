"""The first references of each query in the order of a key."""

import numpy as np

from keras_epos.retrieval.blocks import chunks

# References fetched beyond those asked for, so that near-ties at the border seldom need the exact path.
SPARE = 8


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
    for part in chunks(np.arange(len(rows)), len(product.gallery)):
        block = key(rows[part], everything, product.whole_rows(rows[part]))
        chosen = np.argpartition(-block, count - 1, axis=1)[:, :count]
        keys[part], indices[part] = _sort(np.take_along_axis(block, chosen, axis=1), chosen, count)
    return keys, indices


def _sort(keys, indices, count):
    order = np.argsort(-keys, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(keys, order, axis=1), np.take_along_axis(indices, order, axis=1)
