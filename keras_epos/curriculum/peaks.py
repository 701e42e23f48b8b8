"""How far each sample is from the nearest denser one: large for the centres of a class's looks."""

import numpy as np

from keras_epos._checks import integer
from keras_epos.curriculum.classes import check_density, classes_of
from keras_epos.curriculum.pair_distances import tiles


def peak_distance(embeddings, labels, density, *, block_size=1024):
    """Distance of each sample to the nearest sample of its class that is denser.

        delta_i = min over j with rho_j > rho_i of D_ij;  max over j of D_ij for the densest

    Samples that are dense and far from anything denser are centres; the densest is the centre of its class in
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
    for members, rows in classes_of(embeddings, labels):
        distance[members] = _of_class(rows, density[members], block_size)
    return distance


def _of_class(rows, density, block_size):
    nearest, farthest = np.full(len(rows), np.inf), np.zeros(len(rows))
    for first, second, squared in tiles(rows, block_size):
        for here, there, part in ((first, second, squared), (second, first, squared.T)):
            denser = density[None, there] > density[here, None]
            nearest[here] = np.minimum(nearest[here], np.where(denser, part, np.inf).min(axis=1))
            farthest[here] = np.maximum(farthest[here], part.max(axis=1))
    return np.sqrt(np.where(np.isinf(nearest), farthest, nearest))
