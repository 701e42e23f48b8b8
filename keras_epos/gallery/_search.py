"""The nearest rows of a gallery, by the engine of `keras_epos.retrieval`."""

import keras
import numpy as np
from keras import ops

from keras_epos._rows import Rows, blocks, chunks
from keras_epos.gallery._storage import STORAGES, norms_of
from keras_epos.retrieval import TIE
from keras_epos.retrieval._nearest import top
from keras_epos.retrieval._product import Product, factors

# References compared at once, and how few queries are compared with four times as many.
WIDTH, _FEW = 4096, 64
# Queries compared at once.
_MOST = 1024
# Queries of the product by which the backend is tried out, at least and at most.
_FEWEST, _TRIED = 16, 128
# Queries whose products NumPy makes.
_BY_NUMPY = 2
# Rows whose norm is 1 but for so little are not scaled. It is 4 of the 16 roundings for which `error_bound` has room.
_UNIT = 2.0**-22
# Candidates that are rescored for `k` neighbors: `k` times the first, and the second.
RESCORED = {"int8": (2, 10), "binary": (8, 100)}


class View:
    """The rows of some segments, or the `chosen` ones of them, as `Product` takes a gallery.

    Args:
        segments: List of `Segment`.
        chosen: Rising places of rows among all of the segments, or `None` for all.
        is_exact: Whether also `scaled` gives the best rows that are kept, and not what the storage holds in memory.
    """

    def __init__(self, segments, dim, storage, chosen=None, is_exact=False):
        self.segments, self.dim, self._chosen = segments, dim, chosen
        self.storage = storage
        self._storage = STORAGES[storage]
        self._is_exact = is_exact or not self._storage.is_rescored
        self._starts = np.cumsum([0, *map(len, segments)])

    def __len__(self):
        return self._starts[-1] if self._chosen is None else len(self._chosen)

    def places(self, index):
        """Places among all rows of the segments."""
        return index if self._chosen is None else self._chosen[index]

    def unit(self, index):
        """The best rows that are kept, of norm 1 in float64; `index` is a slice or an array of any shape."""
        index = np.arange(len(self))[index] if isinstance(index, slice) else index
        rows = self._taken(self.places(index.reshape(-1)), lambda segment, some: segment.exact(some, self.dim))
        unit = rows.astype(np.float64)
        unit /= norms_of(unit)[:, None]
        return unit.reshape(*index.shape, self.dim)

    def scaled(self, start, stop):
        """Float32 `(M, D)` and `(M,)`, whose product is unit rows, or what the storage keeps of them."""
        parts = list(self.parts(start, stop))
        return parts[0] if len(parts) == 1 else tuple(map(np.concatenate, zip(*parts, strict=True)))

    def parts(self, start, stop):
        """Yields what `scaled` returns in parts that lie side by side in memory, so that nothing is copied."""
        if self._chosen is not None:
            index = self._chosen[start:stop]
            yield self._taken(index, self._decoded), self._taken(index, self._scale)
            return
        for segment, first in zip(self.segments, self._starts, strict=False):
            some = slice(max(start - first, 0), max(min(stop - first, len(segment)), 0))
            if some.start < some.stop:
                yield self._decoded(segment, some), self._scale(segment, some)

    def _decoded(self, segment, index):
        if self._is_exact:
            return segment.exact(index, self.dim)
        return self._storage.decode(segment.values[index], self.dim)

    def _scale(self, segment, index):
        if self._is_exact and segment.rows is not None:
            return (1 / norms_of(segment.rows[index])).astype(np.float32)
        return (1 / segment.norms[index]).astype(np.float32)

    def _taken(self, places, of):
        """What `of(segment, rows)` gives for places, an array, put together in their order."""
        segment = np.searchsorted(self._starts, places, "right") - 1
        distinct = np.unique(segment)
        if len(distinct) == 1:
            return of(self.segments[distinct[0]], places - self._starts[distinct[0]])
        found = None
        for one in distinct:
            where = segment == one
            part = of(self.segments[one], places[where] - self._starts[one])
            if found is None:
                found = np.empty((len(places), *part.shape[1:]), part.dtype)
            found[where] = part
        return found


class StoredProduct(Product):
    """Similarities to the rows of a `View`, which are not normalized beforehand but their products afterwards."""

    def __init__(self, queries, gallery):
        # What the backend keeps of the factors is tried out on a product of this size and eight times as many.
        size = 1 << (len(queries) - 1).bit_length()
        super().__init__(queries, gallery, min(max(size, _FEWEST), _TRIED))
        self._width = WIDTH if len(queries) > _FEW else 4 * WIDTH

    def by_block(self, rows):
        """Yields `(start, similarity)`: float32 `(len(rows), g)` for the `g` references from `start` on."""
        left = factors(self.queries.unit(rows), self.bits, 0)
        # To hand the rows of few queries to the backend would take longer than all else.
        is_few = len(left) <= _BY_NUMPY
        queries = None if is_few else ops.convert_to_tensor(left)
        for start in range(0, len(self.gallery), self._width):
            stop = min(start + self._width, len(self.gallery))
            if is_few:
                yield start, ops.convert_to_tensor(self._by_numpy(left, start, stop))
            else:
                yield start, self._similarity(queries, *self.gallery.scaled(start, stop))

    def _by_numpy(self, left, start, stop):
        similarity, first = np.empty((len(left), stop - start), np.float32), 0
        for values, scale in self.gallery.parts(start, stop):
            for row, query in zip(similarity, left[:, : self.gallery.dim], strict=True):
                row[first : first + len(values)] = np.einsum("gd,d->g", values, query) * scale
            first += len(values)
        return similarity

    def _similarity(self, left, values, scale):
        if self.bits < 24:
            return _products(left, ops.convert_to_tensor(factors(values * scale[:, None], self.bits, 1)))
        right = ops.convert_to_tensor(values)
        if np.abs(scale - 1).max() <= _UNIT:
            return _products(left, right)
        # The rows or the products must be scaled, the fewer numbers of them.
        if len(left) < self.gallery.dim:
            return _products(left, right) * scale
        return _products(left, right * scale[:, None])


def _products(left, right):
    """The product of each row `(Q, D)` with each row `(G, D)`: `(Q, G)`. Nothing is copied to be transposed."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Its einsum takes longer.
        return tf.matmul(left, right, transpose_b=True)
    return ops.einsum("qd,gd->qg", left, right)


def exact(queries, view, k):
    """The `k` most similar rows of each query: `(similarity, places)`, float64 and int64 `(Q, k)`. Ties in order."""
    product = StoredProduct(queries, view)
    return _by_block(product, k, lambda rows: _first(product, rows, k, k + 8))


def rescored(queries, view, k, candidates):
    """As `exact`, of the best candidates by what the storage holds in memory, ranked by their exact similarity.

    Args:
        candidates: How many.
    """
    if candidates >= len(view):
        return exact(queries, view, k)
    product = StoredProduct(queries, view)
    return _by_block(product, k, lambda rows: ranked(product, rows, product.candidates(rows, candidates)[0], k))


def by_index(queries, view, k, index, is_removed, candidates):
    """As `exact`, of the candidates that an index names; exactly where it names too few.

    Args:
        view: All rows.
        index: As `Index` in `_faiss.py`.
        is_removed: Booleans, one for each row of the view.
        candidates: How many.
    """
    product = StoredProduct(queries, view)

    def find(rows):
        indices = index.candidates(queries.unit(rows).astype(np.float32), candidates)
        # An index may have grown since the view was taken.
        is_wrong = (indices < 0) | (indices >= len(view))
        indices[is_wrong] = 0
        return ranked(product, rows, indices, k, is_wrong | is_removed[indices])

    similarity, places = _by_block(product, k, find)
    few = np.flatnonzero(similarity[:, -1] == -np.inf)
    if len(few):
        kept = View(view.segments, view.dim, view.storage, np.flatnonzero(~is_removed))
        similarity[few], places[few] = exact(Rows(queries.values[few]), kept, k)
    return similarity, places


def ranked(product, rows, indices, k, is_wrong=None):
    """The first `k` of the given rows `(Q, M)` by exact similarity, those that are wrong last with -inf."""
    similarity = product.exact_rows(rows, indices)
    if is_wrong is not None:
        similarity[is_wrong] = -np.inf
    order = np.argsort(-similarity, axis=1)
    found, indices, _ = in_order(*(np.take_along_axis(part, order, axis=1) for part in (similarity, indices)))
    return found[:, :k], indices[:, :k]


def _by_block(product, k, find):
    similarity = np.empty((len(product.queries), k))
    places = np.empty(similarity.shape, np.int64)
    for rows in blocks(np.arange(len(product.queries)), _MOST):
        similarity[rows], found = find(rows)
        places[rows] = product.gallery.places(found)
    return similarity, places


def _first(product, rows, k, width):
    """The first `k` of each query out of its first `width`, or of as many more as it takes to know all ties."""
    width = min(width, len(product.gallery))
    similarity, indices = np.empty((len(rows), k)), np.empty((len(rows), k), np.int64)
    for part in chunks(np.arange(len(rows)), width):
        found = top(product, rows[part], width, 0, lambda rows, indices, similarity: similarity)
        found, order, ties = in_order(*found)
        similarity[part], indices[part] = found[:, :k], order[:, :k]
        if width < len(product.gallery):
            # Ties that go on beyond the last: there may be some that were added earlier.
            unsure = part[ties[:, k - 1] == ties[:, -1]]
            if len(unsure):
                similarity[unsure], indices[unsure] = _first(product, rows[unsure], k, 16 * width)
    return similarity, indices


def in_order(similarity, indices):
    """Falling similarities with ties in the order of their indices, and the number of each row's tie."""
    falls = similarity[:, :-1] > similarity[:, 1:] + TIE
    ties = np.cumsum(np.pad(falls, ((0, 0), (1, 0))), axis=1)
    order = np.lexsort((indices, ties), axis=1)
    return *(np.take_along_axis(part, order, axis=1) for part in (similarity, indices)), ties
