"""The terms of the anchors, and the way from them to the loss of the batch."""

from typing import NamedTuple

import keras
from keras import ops


class Terms(NamedTuple):
    """What a formula returns for every anchor, each of shape `(A,)`.

    Attributes:
        total: Sum of the anchor's terms.
        valid: How many terms it has; in a `PairLoss`, `None` means one for every anchor that has a positive and a
            negative.
        active: How many of them are not at rest, that is, have a gradient.
    """

    total: object
    valid: object
    active: object


def per_anchor(terms, average_over):
    """One value for each anchor, and 1 or 0 for whether it counts; both `(A,)`.

    The mean of the values that count is the mean over all counted terms of the batch, as published: an anchor with
    more terms has more weight.
    """
    counted = ops.stop_gradient(terms.active if average_over == "active" else terms.valid)
    counted = ops.cast(counted, terms.total.dtype)
    takes_part = ops.cast(counted > 0, terms.total.dtype)
    some = ops.any(counted > 0)
    terms_of_an_anchor = ops.where(some, ops.sum(counted), 1) / ops.where(some, ops.sum(takes_part), 1)
    return terms.total / terms_of_an_anchor, takes_part


def reduced(values, takes_part, sample_weight, reduction):
    """Keras's reductions of `(A,)` values, of which only those that take part count in a mean."""
    weight = takes_part
    if sample_weight is not None:
        sample_weight = ops.reshape(ops.cast(sample_weight, values.dtype), (-1,))
        values, weight = values * sample_weight, weight * sample_weight
    if reduction in (None, "none"):
        return values
    if reduction == "sum":
        return ops.sum(values)
    divisor = ops.sum(weight if reduction == "mean_with_sample_weight" else takes_part)
    # Where no anchor counts the sum is 0, or NaN, which must not be lost.
    return ops.sum(values) / ops.where(divisor > 0, divisor, 1) / num_replicas()


def num_replicas():
    """Replicas of the `tf.distribute` strategy: Keras sums their gradients, so a mean must be shared out."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync
