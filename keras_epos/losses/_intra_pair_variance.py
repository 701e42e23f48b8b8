"""Intra-pair variance loss."""

from keras import ops

from keras_epos._checks import number
from keras_epos._pairs import count, hinge, is_at_rest, masked_mean, masked_sum
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._terms import has_either, of_whole_batch


@registered("intra_pair_variance")
class IntraPairVarianceLoss(PairLoss):
    """Draws the similarities of all positive pairs of a batch together, and those of all negative pairs.

        loss = mean_p max(0, (1 - positive_epsilon) m_p - S_ap)^2 + mean_n max(0, S_an - (1 + negative_epsilon) m_n)^2

    where `m_p` and `m_n` are the mean similarities of the positive and of the negative pairs, and the means run over
    all pairs of the batch, not those of one anchor. With the hinges `h`

        weight of p = 2 ((1 - positive_epsilon) mean(h) - h_ap),  of n = 2 (h_an - (1 + negative_epsilon) mean(h))

    divided by the number of such pairs. The means `m` are differentiated: a positive more similar than the mean is
    pushed away a little, since that makes all of them alike. So the loss alone says nothing of positives against
    negatives, and keeps no modes apart; it is made to be added to `TupletMarginLoss` by a `WeightedSum`. Where `m_n` is
    negative the factor moves the border away from 0, as it stands in the paper.

    - Needs: two classes in a batch, and two samples of a class.
    - Choose it when: another loss is to be evened out; alone it does not tell positives from negatives.
    - See also: `TupletMarginLoss`, `WeightedSum`.

    Args:
        positive_epsilon: Relative slack below the mean of the positives, in [0, 1).
        negative_epsilon: Relative slack above the mean of the negatives, at least 0.
        positives, negatives, average_over, shared: See `PairLoss`. With `positives="easy"` the easy pairs alone are
            drawn together. An anchor has one term, active when one of its hinges is; the mean over anchors is the loss.

    Reference: Yu and Tao 2019, https://doi.org/10.1109/ICCV.2019.00659.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.IntraPairVarianceLoss()
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.044
    """

    def __init__(
        self,
        positive_epsilon=0.01,
        negative_epsilon=0.01,
        positives="all",
        negatives="all",
        average_over="valid",
        **shared,
    ):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        number("positive_epsilon", positive_epsilon, "[0, 1)")
        number("negative_epsilon", negative_epsilon, "[0, inf)")
        self.positive_epsilon = positive_epsilon
        self.negative_epsilon = negative_epsilon

    def formula(self, positives, negatives, batch):
        near, far = positives.similarity, negatives.similarity
        too_far = (1 - self.positive_epsilon) * masked_mean(near, positives.mask) - near
        too_near = far - (1 + self.negative_epsilon) * masked_mean(far, negatives.mask)
        share, active = 0, 0
        for violation, mask in ((too_far, positives.mask), (too_near, negatives.mask)):
            pairs = ops.sum(ops.cast(mask, near.dtype))
            share += masked_sum(ops.square(hinge(violation)), mask) / ops.where(pairs > 0, pairs, 1)
            active += count(ops.logical_and(mask, ops.logical_not(is_at_rest(violation))), near.dtype)
        takes_part = ops.cast(has_either(positives, negatives), near.dtype)
        return of_whole_batch(share, takes_part, ops.minimum(active, 1))
