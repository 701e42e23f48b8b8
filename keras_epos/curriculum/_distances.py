"""Distances inside a class, a tile at a time."""

import numpy as np

from keras_epos._rows import Rows

# Squares of larger numbers may not fit into float64.
LARGEST = 1e150
# Squared distances below this share of the two squared norms are rounding: the samples are equal.
ROUNDING = 1e-13
# Relative difference of squared distances that are equal but for rounding.
TIE = 1e-12
# Bits of a float that is not negative; as an integer they are ordered as the float is.
BITS = 63
DIGIT = 16


def centered_classes(embeddings, labels, principal_dim=None):
    """Yields `(members, rows)` of each class: sample indices `(n,)` and centered float64 rows `(n, D)`.

    With `principal_dim` rows of more dimensions are turned into their first principal components.
    """
    samples = Rows.of(embeddings, labels)
    extremes = float(samples.values.min()), float(samples.values.max())
    if not max(map(abs, extremes)) < LARGEST:
        raise ValueError(
            f"`embeddings` must be finite and below {LARGEST:g}. Received: numbers from {extremes[0]} to {extremes[1]}."
        )
    for members in samples.members():
        rows = samples.values[members].astype(np.float64)
        rows -= rows.mean(axis=0)
        yield members, _principal(rows, principal_dim)


def _principal(rows, dim):
    if dim is None or rows.shape[1] <= dim:
        return rows
    _, directions = np.linalg.eigh(rows.T @ rows)
    return rows @ directions[:, -dim:]


def tiles(rows, block_size):
    """Squared Euclidean distances between blocks of rows; each pair of blocks comes once.

    Args:
        rows: Finite floats `(n, D)`, float64, centered, so that rounding is relative to their spread.
        block_size: Rows of a block.

    Yields:
        `(first, second, squared)`: slices of the rows, `second` the same as `first` or after it, and float64
        `(rows of first, rows of second)`, at least 0.
    """
    norms = np.einsum("nd,nd->n", rows, rows)
    for start in range(0, len(rows), block_size):
        first = slice(start, start + block_size)
        for other in range(start, len(rows), block_size):
            second = slice(other, other + block_size)
            squared = rows[first] @ rows[second].T
            squared *= -2
            sums = norms[first, None] + norms[None, second]
            squared += sums
            squared[squared <= ROUNDING * sums] = 0
            if start == other:
                np.fill_diagonal(squared, 0)
            yield first, second, squared


def pairs(rows, block_size):
    """Squared distances of the unordered pairs of different rows, as arrays; `n (n - 1) / 2` numbers in all."""
    for first, second, squared in tiles(rows, block_size):
        yield squared[np.triu_indices(len(squared), 1)] if first == second else squared.reshape(-1)


def add_to_rows(totals, first, second, values):
    """Add up the `values` of a tile for each of its rows, those of both blocks, into `totals` `(n,)`."""
    totals[first] += values.sum(axis=1)
    if first != second:
        totals[second] += values.sum(axis=0)


def order_statistic(read, rank, count, limit=2**22):
    """The value that stands at `rank` when all values are sorted.

    Radix selection: counts the leading bits, keeps the values that share those of the value sought, and goes on with
    the next bits, until few enough are left to be sorted. Ties do no harm. At most five passes.

    Args:
        read: Function that yields the values, float64 arrays `(m,)` without negative ones, the same at every call.
        rank: Integer from 0 to `count - 1`.
        count: How many values there are in all.
        limit: How many values may be held at once.

    Returns:
        Float, one of the values.
    """
    prefix, shift = 0, BITS
    while count > limit and shift > 0:
        width = min(DIGIT, shift)
        shift -= width
        histogram = np.zeros(2**width, np.int64)
        for values in _sharing(read, prefix, shift + width):
            digits = (values.view(np.int64) >> shift) & (2**width - 1)
            histogram += np.bincount(digits, minlength=2**width)
        reached = np.cumsum(histogram)
        digit = int(np.searchsorted(reached, rank, side="right"))
        count = int(histogram[digit])
        rank -= int(reached[digit]) - count
        prefix = (prefix << width) | digit
    if shift == 0:
        return float(np.int64(prefix).view(np.float64))
    return float(np.partition(np.concatenate(list(_sharing(read, prefix, shift))), rank)[rank])


def _sharing(read, prefix, shift):
    """The values whose bits above `shift` are `prefix`."""
    for values in read():
        yield values[values.view(np.int64) >> shift == prefix]
