"""Similarities between queries and gallery, with a bound of their error."""

import itertools

import keras
import numpy as np
from keras import ops

from keras_epos._rows import chunks

# Similarities that differ by no more are equal.
TIE = 1e-12
# Numbers of the gallery that stay in a host's memory as float32 factors, 64 MB. Others are made anew for each block.
KEPT = 2**24
# References whose largest similarity is looked at before any of them.
GROUP = 16
# Similarities looked at one by one at a time: some 30 MB.
AT_ONCE = 2**19


class Product:
    """Similarities between two sides: fast ones in float32 of known error, exact ones in float64 for chosen pairs."""

    def __init__(self, queries, gallery, block_size):
        self.queries, self.gallery = queries, gallery
        self.block_size = block_size
        dim = queries.dim
        self.bits = significant_bits(dim, block_size)
        self.error = error_bound(dim, self.bits)
        self._kept = {}
        self._width = 8 * block_size

    def by_block(self, rows):
        """Yields `(start, similarity)`: float32 `(len(rows), g)` for the `g` references from `start` on."""
        left = ops.convert_to_tensor(factors(self.queries.unit(rows), self.bits, 0))
        for start in range(0, len(self.gallery), self._width):
            yield start, ops.matmul(left, self._references(start))

    def _references(self, start):
        """Factors `(D, g)` of the references from `start` on. A host keeps the first of them, other devices all."""
        if start in self._kept:
            return self._kept[start]
        rows = factors(self.gallery.unit(slice(start, start + self._width)), self.bits, 1)
        right = ops.convert_to_tensor(np.ascontiguousarray(rows.T))
        if (start + self._width) * rows.shape[1] <= KEPT or "cpu" not in str(right.device).lower():
            self._kept[start] = right
        return right

    def candidates(self, rows, width):
        """About the `width` most similar references `(Q, width)`, and the similarity that no other exceeds `(Q,)`."""
        found, cutoff = None, np.full(len(rows), -np.inf, np.float32)
        new, due = [], 1
        last = -(-len(self.gallery) // self._width)
        for count, (start, similarity) in enumerate(self.by_block(rows), 1):
            query, reference, value = first_above(similarity, cutoff, width)
            new.append((query, start + reference, value))
            # Sorting whenever the number of blocks has doubled keeps both sorts and new finds few.
            if count in (due, last):
                found, cutoff = _first(new, width, len(rows))
                new, due = [found], 2 * count
        return found[1].reshape(len(rows), width), cutoff

    def exact(self, rows, start, width, query, reference):
        """Float64 similarities of pairs from `rows` and the `width` references from `start` on; `query` rises."""
        if not len(query):
            return np.empty(0)
        first, last = query[0], query[-1] + 1
        if len(query) * 16 > (last - first) * width:
            # So many that all of them at once are quicker, as when the embeddings have collapsed.
            return self.exact_block(rows[first:last], slice(start, start + width))[query - first, reference]
        return self.exact_rows(rows[query], start + reference[:, None])[:, 0]

    def exact_rows(self, rows, indices):
        """Float64 similarities `(Q, M)` of queries `rows` `(Q,)` to references `indices` `(Q, M)`."""
        similarity = np.empty(indices.shape)
        dim = self.queries.dim
        for part in chunks(np.arange(len(rows)), indices.shape[1] * dim):
            references = self.gallery.unit(indices[part])
            similarity[part] = np.einsum("qd,qmd->qm", self.queries.unit(rows[part]), references)
        return similarity

    def exact_block(self, rows, window):
        """Float64 similarities `(Q, M)` of queries `rows` to the references of `window`, a slice."""
        return self.queries.unit(rows) @ self.gallery.unit(window).T

    def whole_rows(self, rows):
        """Float64 similarities `(Q, G)` of queries `rows` to the whole gallery."""
        similarity = np.empty((len(rows), len(self.gallery)))
        for index in chunks(np.arange(len(self.gallery)), self.queries.dim):
            window = slice(int(index[0]), int(index[-1]) + 1)
            similarity[:, window] = self.exact_block(rows, window)
        return similarity


def on_host(similarity):
    """A block as a NumPy array, perhaps one that must not be written to: Keras would copy it."""
    return ops.convert_to_numpy(similarity) if keras.backend.backend() == "torch" else np.asarray(similarity)


def above(similarity, threshold):
    """Yields the entries above the threshold of their row, some rows at a time: `(row, column, value)`, rows rising."""
    groups, largest = _grouped(similarity)
    is_above = largest > threshold[:, None]
    # All rows at once, unless embeddings have collapsed.
    count = np.cumsum(is_above.sum(axis=1)) * groups.shape[1]
    cuts = np.flatnonzero(np.diff(count // AT_ONCE)) + 1
    for first, last in itertools.pairwise([0, *cuts, len(is_above)]):
        row, column, value = _entries(groups, is_above, threshold, first, last)
        if len(row):
            yield row, column, value


def first_above(similarity, threshold, width):
    """Entries above the threshold of their row, and of many about the first `width`: `(row, column, value)`."""
    groups, largest = _grouped(similarity)
    num_rows, num_columns = similarity.shape
    is_above = largest > threshold[:, None]
    if width < num_columns and _are_many(is_above):
        if width <= largest.shape[1]:
            # So many groups hold an entry as large as the last of them; smaller ones are not among the first.
            last = np.partition(largest, -width, axis=1)[:, -width]
            threshold = np.maximum(threshold, np.nextafter(last, np.float32(-np.inf)))
            is_above = largest > threshold[:, None]
        if _are_many(is_above):
            value, column = (ops.convert_to_numpy(part) for part in ops.top_k(similarity, width))
            return np.repeat(np.arange(num_rows), width), column.reshape(-1).astype(np.int64), value.reshape(-1)
    return _entries(groups, is_above, threshold, 0, num_rows)


def _grouped(similarity):
    """The entries of a block in groups of a row, `(groups, size)`, and the largest of each, NumPy `(Q, groups)`.

    Most groups of most rows hold none that counts, and their largest entry tells at the cost of reading them once.
    """
    num_rows, num_columns = similarity.shape
    size = GROUP if num_columns % GROUP == 0 else num_columns
    groups = ops.reshape(similarity, (-1, size))
    return groups, ops.convert_to_numpy(ops.max(groups, axis=1)).reshape(num_rows, -1)


def _entries(groups, is_above, threshold, first, last):
    """The entries above their threshold in the rows from `first` up to `last`, all of them in groups that are above."""
    # Several times as quick as to ask for rows and columns.
    index = np.flatnonzero(is_above[first:last]) + first * is_above.shape[1]
    row, group = np.divmod(index, is_above.shape[1])
    if not len(row):
        return row, group, np.empty(0, np.float32)
    index = index.astype(np.int32)
    if keras.backend.backend() == "jax":
        # Up to a power of two, for JAX compiles each length anew.
        index = np.resize(index, 1 << (len(index) - 1).bit_length())
    chosen = ops.convert_to_numpy(ops.take(groups, index, axis=0))[: len(row)]
    place, column = np.nonzero(chosen > threshold[row, None])
    return row[place], group[place] * groups.shape[1] + column, chosen[place, column]


def _are_many(groups):
    """Whether to sort takes less than to look at these groups."""
    return 2 * np.count_nonzero(groups) > groups.size


def _first(parts, width, num_rows):
    """The `width` largest entries of each row, in order, and the smallest of them, -inf for rows with fewer."""
    row, column, value = (np.concatenate(part) for part in zip(*parts, strict=True))
    # One number to sort by: rows apart by 4, and similarities within less, to 2^-40 for a thousand rows.
    order = np.argsort(4.0 * row - value)
    start = np.searchsorted(row[order], np.arange(num_rows))
    order = order[np.arange(len(order)) - start[row[order]] < width]
    size = np.bincount(row[order], minlength=num_rows)
    last = np.cumsum(size) - 1
    cutoff = np.where(size == width, value[order][last], -np.inf).astype(np.float32)
    return (row[order], column[order], value[order]), cutoff


def significant_bits(dim, block_size):
    """Bits of the factors that the backend's matrix product keeps: 24 in float32, 11 in TF32, 8 in bfloat16.

    GPUs and TPUs round silently unless told otherwise, by settings that differ per backend; so it is tried out.
    """
    left = np.zeros((block_size, dim), np.float32)
    left[:, 0] = 1
    right = np.zeros((dim, 8 * block_size), np.float32)
    right[0] = 1 + 2.0**-12
    right[0, ::2] = 1 + 2.0**-9
    product = ops.convert_to_numpy(ops.matmul(ops.convert_to_tensor(left), ops.convert_to_tensor(right)))
    kept = product == right[:1]
    return 24 if kept.all() else 11 if kept[:, ::2].all() else 8


def error_bound(dim, bits):
    """The largest |computed - exact| of unit rows: a sum of `dim` float32 products in any order, and their rounding.

    Where the backend rounds the factors, also what `factors` leaves out.
    """
    if bits == 24:
        return (dim + 16) * 2.0**-24
    return (3 * dim + 16) * 2.0**-24 + 4 * 2.0 ** (2 - 2 * bits)


def factors(rows, bits, side):
    """Float32 factors whose product is that of `rows`, though the matrix product keeps only `bits` bits of each.

    Each number is cut into a head that survives rounding and a tail: `a b = head head + head tail + tail head`, laid
    side by side so that one product of three times the width adds them up.
    """
    rows = rows.astype(np.float32)
    if bits == 24:
        return rows
    mask = np.uint32(0xFFFFFFFF << (24 - bits) & 0xFFFFFFFF)
    head = (rows.view(np.uint32) & mask).view(np.float32)
    tail = rows - head
    return np.concatenate([head, tail, head] if side else [head, head, tail], axis=1)
