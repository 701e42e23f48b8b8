"""Density as a number of neighbours within a distance that is a quantile of all distances."""

import numpy as np

from keras_epos.curriculum.order_statistic import order_statistic
from keras_epos.curriculum.pair_distances import TIE, add_to_rows, pairs, tiles


def cutoff_distance(rows, quantile=0.6, block_size=1024):
    """The distance within which samples of a class are neighbours.

    d_c = the entry at rank `int(n^2 quantile)`, from 0, of the `n^2` sorted distances, zeros of the diagonal included.

    Args:
        rows: Finite floats `(n, D)` of one class, centred.
        quantile: In [0, 1).
        block_size: Rows compared at once with as many others.

    Returns:
        Float, a distance. Ranks that fall on the diagonal give 0.
    """
    size = len(rows)
    rank = int(size * size * quantile)
    if rank < size:
        return 0.0
    # Behind the n zeros of the diagonal every pair stands twice.
    count = size * (size - 1) // 2
    return float(np.sqrt(order_statistic(lambda: pairs(rows, block_size), (rank - size) // 2, count)))


def quantile_density(rows, quantile=0.6, block_size=1024):
    """`rho_i = #{j : D_ij < d_c} - 1`, float64 `(n,)`; arguments as in `cutoff_distance`.

    A distance that is `d_c` but for rounding is not below it.
    """
    below = cutoff_distance(rows, quantile, block_size) ** 2 * (1 - TIE)
    counts = np.zeros(len(rows), np.int64)
    for first, second, squared in tiles(rows, block_size):
        add_to_rows(counts, first, second, squared < below)
    return counts - 1.0
