"""The terms of the anchors, and the way from them to the loss of the batch."""

from typing import NamedTuple

from keras import ops

from keras_epos._pairs import count, hinge, is_at_rest, masked_logsumexp, masked_sum


class Terms(NamedTuple):
    """What a formula returns for every anchor, each of shape `(A,)`.

    Attributes:
        total: Sum of the anchor's terms.
        valid: How many terms it has; in a `PairLoss`, `None` means one for every anchor that has a positive and a
            negative.
        active: How many of them are not at rest, that is, have a gradient.
        statistics: Dictionary of name to scalar, what the batch has shown. A formula leaves it out; the base of the
            loss fills it in.
    """

    total: object
    valid: object
    active: object
    statistics: object = None


class LossResult(NamedTuple):
    """What a loss makes of a batch of `B` samples.

    Attributes:
        values: `(B,)`, one for each anchor, whose mean over the anchors that take part is the loss; of a sum of
            losses the weighted sum of theirs.
        takes_part: `(B,)`, 1 or 0 for whether an anchor counts in a mean; `None` for a sum, each part of which has
            its own.
        statistics: Dictionary of name to scalar, without gradient. `valid_anchors` is the share of the batch that takes
            part, 0 to 1. Where it is 0 nothing was measured: the other values are 0 and mean nothing.
        parts: Of a sum of losses a dictionary of name to `(weight, LossResult)`, else `None`.
    """

    values: object
    takes_part: object
    statistics: object
    parts: object = None

    def reduced(self, sample_weight=None, reduction="sum_over_batch_size"):
        """The loss: a scalar, or `(B,)` without a reduction. Only anchors that take part count in a mean.

        Args:
            sample_weight: Weights of the anchors, `(B,)` or `(B, 1)`, or `None`.
            reduction: As in Keras.
        """
        if self.parts is None:
            return reduced(self.values, self.takes_part, sample_weight, reduction)
        return sum(weight * self._loss_of(part, sample_weight, reduction) for weight, part in self.parts.values())

    def _loss_of(self, part, sample_weight, reduction):
        return ops.cast(part.reduced(sample_weight, reduction), self.values.dtype)

    def logs(self, sample_weight=None, reduction="sum_over_batch_size"):
        """Dictionary of name to `(value, share)`: what is logged, and the share of the batch that it was measured on.

        The share is the weight of the value in a mean over batches. Of a sum of losses the values are the losses of its
        parts, before weighting.
        """
        share = self.statistics["valid_anchors"]
        if self.parts is None:
            return {name: (value, 1.0 if name == "valid_anchors" else share) for name, value in self.statistics.items()}
        logs = {}
        for name, (_, part) in self.parts.items():
            value = ops.stop_gradient(ops.mean(self._loss_of(part, sample_weight, reduction)))
            logs[name] = value, part.statistics["valid_anchors"]
        return {**logs, "valid_anchors": (share, 1.0)}


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
    return ops.sum(values) / ops.where(divisor > 0, divisor, 1)


def has_both(positives, negatives):
    """Booleans `(A,)`: whether an anchor has a chosen positive and a chosen negative."""
    return ops.logical_and(ops.any(positives.mask, axis=-1), ops.any(negatives.mask, axis=-1))


def has_either(positives, negatives):
    """Booleans `(A,)`: whether an anchor has any chosen pair."""
    return ops.logical_or(ops.any(positives.mask, axis=-1), ops.any(negatives.mask, axis=-1))


def hinges(*sides):
    """`Terms` of the positive parts of values, from pairs of values and masks `(A, K)`."""
    total, valid, active = 0, 0, 0
    for values, mask in sides:
        total += masked_sum(hinge(values), mask)
        valid += count(mask, values.dtype)
        active += count(ops.logical_and(mask, ops.logical_not(is_at_rest(values))), values.dtype)
    return Terms(total, valid, active)


def of_whole_batch(shares, valid, active):
    """`Terms` of one number for the batch, such as a mean over all its pairs, from the share of each anchor, `(A,)`.

    The loss is a mean over anchors, and the mean of these terms is the sum of the shares.
    """
    return Terms(shares * ops.sum(valid), valid, active)


def tuplets(positives, negatives):
    """`Terms` of `log(1 + sum_n exp(s_an - s_ap))`, one for each positive, of the similarities of two sides."""
    if negatives.paired:
        push, mask = negatives.similarity, ops.logical_and(positives.mask, negatives.mask)
    else:
        push = masked_logsumexp(negatives.similarity, negatives.mask)[:, None]
        mask = ops.logical_and(positives.mask, ops.any(negatives.mask, axis=-1, keepdims=True))
    number = count(mask, push.dtype)
    return Terms(masked_sum(ops.softplus(push - positives.similarity), mask), number, number)


def zero_with_gradient(weights, similarity, mask):
    """`(A,)` zeros whose derivative by `similarity` is `weights` under `mask`, both `(A, K)`.

    What is added up in passes that carry no gradient gets its pair weights back so.
    """
    moved = masked_sum(ops.stop_gradient(weights) * similarity, mask)
    return moved - ops.stop_gradient(moved)
