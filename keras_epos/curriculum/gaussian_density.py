"""Density as a sum of Gaussian weights of all samples of the class."""

import numpy as np

from keras_epos.curriculum.pair_distances import add_to_rows, tiles


def gaussian_density(rows, block_size=1024):
    """`rho_i = sum_j exp(-(D_ij / max D)^2 / 2) / sqrt(2 pi)`, the sample itself included.

    Args:
        rows: Finite floats `(n, D)` of one class, centred.
        block_size: Rows compared at once with as many others.

    Returns:
        Float64 `(n,)`. Equal samples have distance 0, also where all are equal.
    """
    largest = max(float(squared.max()) for _, _, squared in tiles(rows, block_size))
    total = np.zeros(len(rows))
    for first, second, squared in tiles(rows, block_size):
        add_to_rows(total, first, second, np.exp(squared * (-0.5 / largest if largest else 0.0)))
    return total / np.sqrt(2 * np.pi)
