"""The split of every class into clean, noisy and highly noisy samples."""

import numpy as np

from keras_epos._checks import integer
from keras_epos.curriculum.classes import check_density, class_codes, members_of_classes
from keras_epos.curriculum.clusters import cluster_bounds
from keras_epos.curriculum.density import density
from keras_epos.curriculum.parts import Parts


def split(embeddings, labels, num_parts=3, rule="quantile", **arguments):
    """Split every class by the density of its samples, as CurriculumNet does.

    The embeddings come from a model that was trained on all samples with their noisy labels. What is dense there is
    taken for rightly labelled. Where classes have rare looks choose `rule="agreement"`; see
    `keras_epos.curriculum.density`.

    Args:
        embeddings: Finite floats `(N, D)`, taken as they are; distances are Euclidean.
        labels: Integers or strings `(N,)`: the classes, as observed.
        num_parts: Parts of a class, at least 1.
        rule: `"quantile"`, `"gaussian"`, `"nearest"` or `"agreement"`.
        arguments: All others of `keras_epos.curriculum.density`.

    Returns:
        `Parts`.

    Raises:
        ValueError: for shapes that do not fit, embeddings that are not finite, or arguments out of range.

    Reference: Guo et al. 2018, https://arxiv.org/abs/1808.01097.

    Examples:
        >>> parts = keras_epos.curriculum.split(embeddings, labels, rule="nearest")
        >>> len(parts)
        40
    """
    integer("num_parts", num_parts, 1)
    return split_by(density(embeddings, labels, rule, **arguments), labels, num_parts)


def split_by(density, labels, num_parts=3):
    """Split every class by densities that are known, from any source.

    The parts of a class are the clusters of the exact k-means of its densities: the densest cluster is part 0. A class
    of fewer distinct densities has fewer parts, counted from 0: equal samples, or one alone, are all clean.

    Args:
        density: Finite floats `(N,)`; larger is cleaner.
        labels: Integers or strings `(N,)`.
        num_parts: At least 1.

    Returns:
        `Parts`.

    Raises:
        ValueError: for shapes that do not fit, densities that are not finite, or `num_parts` out of range.
    """
    integer("num_parts", num_parts, 1)
    density = check_density(density, labels)
    parts = np.zeros(len(density), np.int64)
    for members in members_of_classes(class_codes(labels, len(density))):
        bounds = cluster_bounds(density[members], num_parts)
        parts[members] = len(bounds) - np.searchsorted(bounds, density[members], side="right")
    return Parts(np.asarray(labels).reshape(-1), density, parts, int(num_parts))
