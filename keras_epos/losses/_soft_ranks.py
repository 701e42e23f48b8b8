"""How many references come before each positive, softly, and the way back from these counts to the similarities."""

from typing import NamedTuple

from keras import ops

from keras_epos._pairs import for_each_true, masked_sum
from keras_epos.losses._terms import zero_with_gradient


class SoftRanks(NamedTuple):
    """What passes over the positives of each anchor have found.

    Attributes:
        counts: `(A, P)`, how many references are more similar than each positive; 0 outside the mask. No gradient.
        gradient_only: `(A,)` zeros with the derivatives that `slope` gave for the counts.
    """

    counts: object
    gradient_only: object


def soft_ranks(positives, negatives, temperature, slope=None, among_positives=False):
    """`SoftRanks`, with `sigmoid((S_ax - S_ap) / temperature)` for whether a reference `x` comes before `p`.

    A pass for each positive keeps memory at B^2. The passes carry no gradient: they collect the derivatives by the
    similarities, and a sum of derivative times similarity has exactly the gradient.

    Args:
        positives, negatives: `keras_epos.mining.Selection`s with similarities.
        temperature: In units of similarity.
        slope: Function of a count `(A, 1)` and of the place of its positive, a one-hot mask `(A, P)`, to the derivative
            of the loss by that count, `(A, 1)`; `None` where no gradient is wanted.
        among_positives: Whether the other positives are counted too, not negatives alone.
    """
    near, far = ops.stop_gradient(positives.similarity), ops.stop_gradient(negatives.similarity)

    def before(similarity, mask, threshold):
        soft = ops.sigmoid((similarity - threshold) / temperature)
        soft = ops.where(mask, soft, ops.zeros_like(soft))
        return ops.sum(soft, axis=-1, keepdims=True), soft * (1 - soft) / temperature

    def add(column, here, some, counts, by_near, by_far):
        threshold = ops.take_along_axis(near, column, axis=-1)
        count, push = before(far, ops.logical_and(negatives.mask, some), threshold)
        pull = ops.zeros_like(near)
        if among_positives:
            others = ops.logical_and(positives.mask, ops.logical_not(here))
            of_positives, pull = before(near, ops.logical_and(others, some), threshold)
            count = count + of_positives
        counts = counts + ops.where(here, count, ops.zeros_like(near))
        if slope is None:
            return counts, by_near, by_far
        by_count = slope(count, here)
        pull, push = by_count * pull, by_count * push
        itself = ops.sum(pull, axis=-1, keepdims=True) + ops.sum(push, axis=-1, keepdims=True)
        by_near = by_near + pull - ops.where(here, itself, ops.zeros_like(near))
        return counts, by_near, by_far + push

    start = (ops.zeros_like(near), ops.zeros_like(near), ops.zeros_like(far))
    counts, by_near, by_far = (ops.stop_gradient(found) for found in for_each_true(positives.mask, add, start))
    gradient_only = zero_with_gradient(by_near, positives.similarity, positives.mask)
    gradient_only += zero_with_gradient(by_far, negatives.similarity, negatives.mask)
    return SoftRanks(counts, gradient_only)


def number_of(mask, dtype):
    """True entries of each row, `(A, 1)`, and 1 where there are none: a divisor."""
    number = masked_sum(ops.ones_like(mask, dtype=dtype), mask)[:, None]
    return ops.where(number > 0, number, ops.ones_like(number))
