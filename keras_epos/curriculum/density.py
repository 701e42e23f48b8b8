"""How dense the surroundings of each sample are inside its class."""

import numpy as np

from keras_epos._checks import integer, number, one_of
from keras_epos.curriculum.classes import class_codes, classes_of
from keras_epos.curriculum.gaussian_density import gaussian_density
from keras_epos.curriculum.label_agreement import label_agreement
from keras_epos.curriculum.nearest_density import nearest_density
from keras_epos.curriculum.quantile_density import quantile_density

RULES = ("quantile", "gaussian", "nearest", "agreement")


def density(embeddings, labels, rule="quantile", *, quantile=0.6, neighbours=10, principal_dim=None, block_size=1024):
    """Density of every sample among the samples of its label.

        "quantile"   rho_i = #{j : D_ij < d_c} - 1, with d_c the `quantile` of the n^2 distances of the class
        "gaussian"   rho_i = sum_j exp(-(D_ij / max D)^2 / 2) / sqrt(2 pi)
        "nearest"    rho_i = -(distance to the sample number `neighbours` of the nearest others of the class)
        "agreement"  rho_i = share of the `neighbours` nearest samples of all classes that have the label of i

    with Euclidean distances D, the last with cosine similarity. The first two are CurriculumNet's: what is far from
    most of its class is wrong. A rare look of a class is far from most of it too. The other two are this library's
    answer: they look at the surroundings alone. "nearest" asks whether enough of the class is near, "agreement"
    whether others are not nearer; the latter is kindest to rare looks, but needs an embedding in which wrong labels
    are not learnt by heart. studies/label_noise.md has the figures.

    Costs n^2 D for a class of n samples (N^2 D for "agreement"), in blocks. Memory beside a float64 copy of the class:
    a few tiles of `block_size^2` numbers, and 32 MB more for the quantile of a class of more than 2,900 samples.
    Passes over the distances of a class: quantile 2, for large classes 4 or 5; gaussian 2; nearest 1.

    Args:
        embeddings: Finite floats `(N, D)`, taken as they are. Divide them by their norms for cosine.
        labels: Integers or strings `(N,)`: the classes, as observed.
        rule: `"quantile"`, `"gaussian"`, `"nearest"` or `"agreement"`.
        quantile: Share of the distances, in [0, 1), that are below `d_c`.
        neighbours: Integer of 1 or more. Take it above the number of wrong labels of a class that look alike, and
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
    integer("neighbours", neighbours, 1)
    integer("block_size", block_size, 1)
    if principal_dim is not None:
        integer("principal_dim", principal_dim, 1)
    if rule == "agreement":
        return label_agreement(embeddings, class_codes(labels, len(embeddings)), neighbours, block_size)
    result = np.zeros(len(labels))
    for members, rows in classes_of(embeddings, labels, principal_dim):
        if rule == "quantile":
            result[members] = quantile_density(rows, quantile, block_size)
        elif rule == "gaussian":
            result[members] = gaussian_density(rows, block_size)
        else:
            result[members] = nearest_density(rows, neighbours, block_size)
    return result


def check_rule(rule, quantile):
    one_of("rule", rule, RULES)
    number("quantile", quantile, "[0, 1)")
