"""Labels that are wrong now and then: how often a triplet still tells the truth, and draws of such labels.

This project's formalisation, see `keras_epos.collapse.noise_model`: at every presentation the observed label of a
sample is, independently, with the flip probability another class, each of the others equally likely.
"""

from typing import NamedTuple

import numpy as np

from keras_epos._checks import integer, number


class TripletProbabilities(NamedTuple):
    """How likely anchor and positive are observed in one class and the negative in another, by their true classes.

    Attributes:
        aab: Anchor and positive of one true class, the negative of another: a triplet that tells the truth.
        aaa: All three of one class.
        aba: Anchor and negative of one class, the positive of another; the same for positive and negative of one.
        abc: Three different classes; 0 with two classes, where there is no such triplet.
    """

    aab: float
    aaa: float
    aba: float
    abc: float


def triplet_probabilities(flip_probability, num_classes=2):
    """`TripletProbabilities` in closed form; with two classes and `q = e * (1 - e)` they are `1 - 3q, q, q, 0`.

    Args:
        flip_probability: Probability `e` in [0, 1] that an observed label is not the true class.
        num_classes: Number of classes, at least 2.

    Raises:
        ValueError: If an argument is out of range.
    """
    alike, unlike = pair_probabilities(flip_probability, num_classes)
    right, wrong, others = 1 - flip_probability, flip_probability / (num_classes - 1), num_classes - 1
    # Two samples are observed in one class, but for the times when the third one is as well.
    all_of_two = right * wrong * (right + wrong) + (others - 1) * wrong**3
    all_of_three = 3 * right * wrong**2 + (others - 2) * wrong**3
    return TripletProbabilities(
        aab=alike - all_of_two,
        aaa=alike - right**3 - others * wrong**3,
        aba=unlike - all_of_two,
        abc=unlike - all_of_three if num_classes > 2 else 0.0,
    )


def pair_probabilities(flip_probability, num_classes=2):
    """How likely two samples are observed in one class: if they are of one class, and if they are not.

    Args:
        flip_probability, num_classes: See `triplet_probabilities`.
    """
    check_noise(flip_probability, num_classes)
    right, wrong = 1 - flip_probability, flip_probability / (num_classes - 1)
    return right**2 + (num_classes - 1) * wrong**2, 2 * right * wrong + (num_classes - 2) * wrong**2


def observed_labels(classes, flip_probability, num_classes, uniform):
    """Labels `(..., N)` of the classes `(N,)` in `[0, num_classes)`, flipped where `uniform` is below the probability.

    Args:
        classes: Integers `(N,)`.
        flip_probability, num_classes: See `triplet_probabilities`.
        uniform: Random numbers in [0, 1), `(..., N)`.
    """
    flipped = uniform < flip_probability
    # Below the probability a uniform number is uniform again: it also says which of the other classes.
    share = np.divide(uniform, flip_probability, out=np.zeros_like(uniform), where=flipped)
    other = np.minimum(share * (num_classes - 1), num_classes - 2).astype(int)
    return np.where(flipped, (classes + 1 + other) % num_classes, classes)


def check_noise(flip_probability, num_classes):
    number("flip_probability", flip_probability, "[0, 1]")
    integer("num_classes", num_classes, 2)
