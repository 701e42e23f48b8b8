"""Density as closeness to the nearest samples of the class: local, whatever share of the class a look has."""

import numpy as np

from keras_epos.curriculum.pair_distances import tiles


def nearest_density(rows, neighbours=10, block_size=1024):
    """`rho_i = -(distance to the sample that is number `neighbours` of the nearest others)`.

    Args:
        rows: Finite floats `(n, D)` of one class, centred.
        neighbours: At least 1; in a class of fewer others the farthest counts.
        block_size: Rows compared at once with as many others.

    Returns:
        Float64 `(n,)`, at most 0; 0 for a sample alone in its class.

    Reference: Loftsgaarden and Quesenberry 1965, https://doi.org/10.1214/aoms/1177700079.
    """
    neighbours = min(neighbours, len(rows) - 1)
    if neighbours == 0:
        return np.zeros(len(rows))
    nearest = np.full((len(rows), neighbours), np.inf)
    for first, second, squared in tiles(rows, block_size):
        if first == second:
            np.fill_diagonal(squared, np.inf)
        else:
            _keep_smallest(nearest[second], squared.T)
        _keep_smallest(nearest[first], squared)
    return -np.sqrt(nearest.max(axis=1))


def _keep_smallest(kept, values):
    """Put into the rows of `kept` `(m, k)` the k smallest numbers of it and of the rows of `values` `(m, c)`."""
    size = kept.shape[1]
    kept[:] = np.partition(np.concatenate([kept, values], axis=1), size - 1, axis=1)[:, :size]
