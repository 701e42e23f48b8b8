"""Distances of all pairs of a class, a tile at a time."""

import numpy as np

# Squared distances below this share of the two squared norms are rounding: the samples are equal.
ROUNDING = 1e-13
# Relative difference of squared distances that are equal but for rounding.
TIE = 1e-12


def tiles(rows, block_size):
    """Squared Euclidean distances between blocks of rows; each pair of blocks comes once.

    Args:
        rows: Finite floats `(n, D)`, float64, centred, so that rounding is relative to their spread.
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
