"""Levels of the tree: thresholds of equal steps, and the node in which each class stands at each of them."""

import numpy as np

LARGEST_DISTANCE = 4.0


def thresholds(mean_spread, num_levels):
    """`d_l = d_0 + l (4 - d_0) / L`, for `l = 0 ... L`: float64 `(L + 1,)`.

    Args:
        mean_spread: `d_0`, the mean squared distance inside a class, from 0 to 4.
        num_levels: `L`, at least 1.
    """
    return mean_spread + np.arange(num_levels + 1) * ((LARGEST_DISTANCE - mean_spread) / num_levels)


def nodes_at_levels(merges, thresholds):
    """The node of each class at each level, int32 `(L + 1, C)`.

    At level 0 every class is a node of its own. At level `l` nodes nearer than threshold `l` are one, and at the last
    level all are. Levels are nested: classes that share a node share one at all levels above.

    Args:
        merges: `(C - 1, 4)`, see `merge`. Nodes are numbered as there.
        thresholds: `(L + 1,)`, ascending.
    """
    size = len(merges) + 1
    parent = np.arange(2 * size - 1)
    reached_at = np.full(2 * size - 1, np.inf)
    for row, (first, second) in enumerate(merges[:, :2].astype(int)):
        parent[[first, second]] = size + row
        reached_at[[first, second]] = merges[row, 2]
    levels = [np.arange(size)]
    for threshold in thresholds[1:-1]:
        levels.append(_top(np.where(reached_at < threshold, parent, np.arange(2 * size - 1)))[:size])
    levels.append(np.full(size, 2 * size - 2))
    return np.stack(levels).astype(np.int32)


def _top(parent):
    """The last node on the way up from each."""
    while not np.array_equal(above := parent[parent], parent):
        parent = above
    return parent
