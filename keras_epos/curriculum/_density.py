"""How dense the surroundings of each sample are inside its class."""

import numpy as np

from keras_epos._checks import integer, number, one_of
from keras_epos._rows import classes_of
from keras_epos.curriculum._distances import TIE, add_to_rows, centered_classes, order_statistic, pairs, tiles
from keras_epos.retrieval import nearest

RULES = ("quantile", "gaussian", "nearest", "agreement")


def density(embeddings, labels, rule="quantile", *, quantile=0.6, neighbors=10, principal_dim=None, block_size=1024):
    """Density of every sample among the samples of its label.

        "quantile"   rho_i = #{j : D_ij < d_c} - 1, with d_c the `quantile` of the n^2 distances of the class
        "gaussian"   rho_i = sum_j exp(-(D_ij / max D)^2 / 2) / sqrt(2 pi)
        "nearest"    rho_i = -(distance to the sample number `neighbors` of the nearest others of the class)
        "agreement"  rho_i = share of the `neighbors` nearest samples of all classes that have the label of i

    with Euclidean distances D, the last with cosine similarity. The first two are CurriculumNet's: what is far from
    most of its class is wrong. A rare look of a class is far from most of it too. The other two are this library's
    answer: they look at the surroundings alone. "nearest" asks whether enough of the class is near, "agreement"
    whether others are not nearer; the latter is kindest to rare looks, but needs an embedding in which wrong labels
    are not learned by heart. studies/label_noise.md has the figures.

    Costs n^2 D for a class of n samples (N^2 D for "agreement"), in blocks. Memory beside a float64 copy of the class:
    a few tiles of `block_size^2` numbers, and 32 MB more for the quantile of a class of more than 2,900 samples.
    Passes over the distances of a class: quantile 2, for large classes 4 or 5; gaussian 2; nearest 1.

    Args:
        embeddings: Finite floats `(N, D)`, taken as they are. Divide them by their norms for cosine.
        labels: Integers or strings `(N,)`: the classes, as observed.
        rule: `"quantile"`, `"gaussian"`, `"nearest"` or `"agreement"`.
        quantile: Share of the distances, in [0, 1), that are below `d_c`.
        neighbors: Integer of 1 or more. Take it above the number of wrong labels of a class that look alike, and
            below the size of the smallest look to be kept.
        principal_dim: Embeddings of more dimensions are first projected on this many principal components of their
            class (the released code of the paper: 256), or `None`.
        block_size: Samples compared at once with as many others.

    Returns:
        Float64 `(N,)`: larger is denser. Comparable inside a class only.

    Raises:
        ValueError: for shapes that do not fit, embeddings that are not finite, or arguments out of range.

    Reference: Guo et al. 2018, https://arxiv.org/abs/1808.01097.
    """
    check_rule(rule, quantile)
    integer("neighbors", neighbors, 1)
    integer("block_size", block_size, 1)
    if principal_dim is not None:
        integer("principal_dim", principal_dim, 1)
    if rule == "agreement":
        return label_agreement(embeddings, classes_of(labels, len(embeddings))[1], neighbors, block_size)
    result = np.zeros(len(labels))
    for members, rows in centered_classes(embeddings, labels, principal_dim):
        if rule == "quantile":
            result[members] = quantile_density(rows, quantile, block_size)
        elif rule == "gaussian":
            result[members] = gaussian_density(rows, block_size)
        else:
            result[members] = nearest_density(rows, neighbors, block_size)
    return result


def check_rule(rule, quantile):
    one_of("rule", rule, RULES)
    number("quantile", quantile, "[0, 1)")


def cutoff_distance(rows, quantile=0.6, block_size=1024):
    """The distance within which samples of a class are neighbors.

    d_c = the entry at rank `int(n^2 quantile)`, from 0, of the `n^2` sorted distances, zeros of the diagonal included.

    Args:
        rows: Finite floats `(n, D)` of one class, centered.
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


def gaussian_density(rows, block_size=1024):
    """`rho_i = sum_j exp(-(D_ij / max D)^2 / 2) / sqrt(2 pi)`, the sample itself included.

    Args:
        rows: Finite floats `(n, D)` of one class, centered.
        block_size: Rows compared at once with as many others.

    Returns:
        Float64 `(n,)`. Equal samples have distance 0, also where all are equal.
    """
    largest = max(float(squared.max()) for _, _, squared in tiles(rows, block_size))
    total = np.zeros(len(rows))
    for first, second, squared in tiles(rows, block_size):
        add_to_rows(total, first, second, np.exp(squared * (-0.5 / largest if largest else 0.0)))
    return total / np.sqrt(2 * np.pi)


def nearest_density(rows, neighbors=10, block_size=1024):
    """`rho_i = -(distance to the sample that is number `neighbors` of the nearest others)`.

    Args:
        rows: Finite floats `(n, D)` of one class, centered.
        neighbors: At least 1; in a class of fewer others the farthest counts.
        block_size: Rows compared at once with as many others.

    Returns:
        Float64 `(n,)`, at most 0; 0 for a sample alone in its class.

    Reference: Loftsgaarden and Quesenberry 1965, https://doi.org/10.1214/aoms/1177700079.
    """
    neighbors = min(neighbors, len(rows) - 1)
    if neighbors == 0:
        return np.zeros(len(rows))
    closest = np.full((len(rows), neighbors), np.inf)
    for first, second, squared in tiles(rows, block_size):
        if first == second:
            np.fill_diagonal(squared, np.inf)
        else:
            _keep_smallest(closest[second], squared.T)
        _keep_smallest(closest[first], squared)
    return -np.sqrt(closest.max(axis=1))


def _keep_smallest(kept, values):
    """Put into the rows of `kept` `(m, k)` the k smallest numbers of it and of the rows of `values` `(m, c)`."""
    size = kept.shape[1]
    kept[:] = np.partition(np.concatenate([kept, values], axis=1), size - 1, axis=1)[:, :size]


def label_agreement(embeddings, codes, neighbors=10, block_size=1024):
    """`rho_i` = share of the `neighbors` nearest of all samples, by cosine similarity, that have the label of i.

    Args:
        embeddings: Finite floats `(N, D)` of all classes.
        codes: Integers `(N,)`, the labels.
        neighbors: At least 1; of fewer other samples all count.
        block_size: Samples compared at once.

    Returns:
        Float64 `(N,)` from 0 to 1; 1 for a sample alone in the data set.
    """
    neighbors = min(neighbors, len(codes) - 1)
    if neighbors == 0:
        return np.ones(len(codes))
    _, indices = nearest(embeddings, k=neighbors, block_size=block_size)
    return np.mean(codes[indices] == codes[:, None], axis=1)


def peak_distance(embeddings, labels, density, *, block_size=1024):
    """Distance of each sample to the nearest sample of its class that is denser.

        delta_i = min over j with rho_j > rho_i of D_ij;  max over j of D_ij for the densest

    Samples that are dense and far from anything denser are centers; the densest is the center of its class in
    CurriculumNet. The split does not need them; they help to look at a class.

    Args:
        embeddings: Finite floats `(N, D)`; distances are Euclidean.
        labels: Integers or strings `(N,)`: the classes.
        density: Floats `(N,)`, as `keras_epos.curriculum.density` returns them.
        block_size: Samples compared at once with as many others.

    Returns:
        Float64 `(N,)`, distances; 0 for a sample alone in its class.

    Raises:
        ValueError: for shapes that do not fit or embeddings that are not finite.

    Reference: Rodriguez and Laio 2014, https://doi.org/10.1126/science.1242072; Guo et al. 2018,
    https://arxiv.org/abs/1808.01097.
    """
    integer("block_size", block_size, 1)
    density = check_density(density, labels)
    distance = np.zeros(len(density))
    for members, rows in centered_classes(embeddings, labels):
        distance[members] = _of_class(rows, density[members], block_size)
    return distance


def _of_class(rows, density, block_size):
    closest, farthest = np.full(len(rows), np.inf), np.zeros(len(rows))
    for first, second, squared in tiles(rows, block_size):
        for here, there, part in ((first, second, squared), (second, first, squared.T)):
            denser = density[None, there] > density[here, None]
            closest[here] = np.minimum(closest[here], np.where(denser, part, np.inf).min(axis=1))
            farthest[here] = np.maximum(farthest[here], part.max(axis=1))
    return np.sqrt(np.where(np.isinf(closest), farthest, closest))


def check_density(density, labels):
    density = np.asarray(density, np.float64)
    if density.shape != (len(labels),) or not np.isfinite(density).all():
        raise ValueError(
            f"`density` must be a finite number for each of {len(labels)} labels. Received: density of shape "
            f"{density.shape}."
        )
    return density
