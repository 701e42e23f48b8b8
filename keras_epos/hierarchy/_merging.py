"""Agglomerative merging of classes: which two nodes are nearest, again and again, until one is left."""

import numpy as np

from keras_epos._checks import one_of


def _average(to_first, to_second, first, second):
    return (first * to_first + second * to_second) / (first + second)


def _single(to_first, to_second, first, second):
    return np.minimum(to_first, to_second)


def _complete(to_first, to_second, first, second):
    return np.maximum(to_first, to_second)


# Distances of a merged node, from those of its two parts and their weights. None makes a distance smaller than that of
# the parts, so heights never fall; and all allow for merging nearest neighbors in any order.
LINKAGES = {"average": _average, "class_average": _average, "single": _single, "complete": _complete}


def merge(distances, counts=None, linkage="average"):
    """Merge the two nearest nodes until one is left.

    By nearest-neighbor chains: O(C^2) time, and no memory beside `distances`.

    Args:
        distances: Symmetric float64 `(C, C)`; the diagonal means nothing. **Overwritten.**
        counts: Samples of each class `(C,)`, the weights of `"average"`; by default 1 each.
        linkage: Distance of merged nodes. `"average"`: mean over their samples; `"class_average"`: mean over their
            classes, whatever their size; `"single"`: least, `"complete"`: largest of their classes.

    Returns:
        Float64 `(C - 1, 4)` as SciPy has it: the two nodes, the distance at which they merge, and the number of classes
        in the new node. Rows are in the order of that distance; nodes from `C` on are those of earlier rows.

    Raises:
        ValueError: If the shapes do not fit, a distance is NaN, or there is no such linkage.

    References: chains: Murtagh 1983, "A Survey of Recent Advances in Hierarchical Clustering Algorithms",
    https://doi.org/10.1093/comjnl/26.4.354.
    """
    distances = np.asarray(distances, np.float64)
    if distances.ndim != 2 or distances.shape[0] != distances.shape[1] or np.isnan(distances).any():
        raise ValueError(
            f"`distances` must be a square matrix without NaN. Received: distances of shape {distances.shape}."
        )
    one_of("linkage", linkage, sorted(LINKAGES))
    size = len(distances)
    weights = np.ones(size) if counts is None or linkage == "class_average" else np.array(counts, np.float64)
    if weights.shape != (size,) or not (weights > 0).all():
        raise ValueError(f"`counts` must be {size} positive numbers. Received: counts={counts!r}.")
    return _in_order(_pairs(distances, weights, LINKAGES[linkage]), size)


def _pairs(distances, weights, combine):
    """`(first, second, height)` of every merge, in the order found; a node is named by the second of its parts."""
    np.fill_diagonal(distances, np.inf)
    alive = np.ones(len(distances), bool)
    chain, pairs = [], []
    while len(pairs) < len(distances) - 1:
        if not chain:
            chain.append(int(alive.argmax()))
        end = chain[-1]
        nearest = int(distances[end].argmin())
        # On a tie the one before in the chain, or chains would run in circles.
        if len(chain) > 1 and distances[end, chain[-2]] <= distances[end, nearest]:
            nearest = chain[-2]
        if len(chain) < 2 or nearest != chain[-2]:
            chain.append(nearest)
            continue
        del chain[-2:]
        pairs.append((end, nearest, distances[end, nearest]))
        row = combine(distances[end], distances[nearest], weights[end], weights[nearest])
        row[[end, nearest]] = np.inf
        distances[nearest], distances[:, nearest] = row, row
        distances[end], distances[:, end] = np.inf, np.inf
        weights[nearest] += weights[end]
        alive[end] = False
    return pairs


def _in_order(pairs, size):
    """Rows as SciPy has them, from pairs in any order."""
    pairs = sorted(pairs, key=lambda pair: pair[2])
    # The node in which a class stands by now, found over the nodes between.
    parent = np.arange(2 * size - 1)
    classes = np.ones(2 * size - 1, int)
    merges = np.zeros((size - 1, 4))

    def node_of(number):
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return int(number)

    for row, (first, second, height) in enumerate(pairs):
        nodes, new = sorted((node_of(first), node_of(second))), size + row
        parent[nodes] = new
        classes[new] = classes[nodes].sum()
        merges[row] = (*nodes, height, classes[new])
    return merges
