"""Lifted structure loss."""

from keras import ops

from keras_epos._pairs import LOWEST, count, hinge, is_at_rest, masked_logsumexp, masked_sum
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._terms import Terms


@registered("lifted_structure")
class LiftedStructureLoss(PairLoss):
    """Compares every positive pair with the negatives of both of its ends.

        J_ap = D_ap + log(sum_{n of a} exp(margin - D_an) + sum_{n of p} exp(margin - D_pn))
        loss_a = sum_p max(0, J_ap)^2 / 2
        weight of p = -max(0, J_ap),  weight of n of a, or of p, for J_ap =
            max(0, J_ap) exp(margin - D) / (sum_{n of a} exp(margin - D_an) + sum_{n of p} exp(margin - D_pn))

    with Euclidean distances `D` between unit rows; the weights are those by the distance, with the sign of pulling and
    pushing. `J` grows with the logarithm of the batch, so that hardly a pair ever comes to rest: a loss for large
    batches with many classes. The negatives of `p` are those selected for it as an anchor; positives from a memory
    have none. As published the mean is over the positive pairs.

    - Needs: two classes in a batch, and two samples of a class.
    - Choose it when: batches are large and hold many classes.
    - See also: `GeneralizedLiftedStructureLoss`.

    Args:
        margin: Any number, in units of distance.
        positives, negatives, average_over, shared: See `PairLoss`.

    Reference: Oh Song et al. 2016, https://arxiv.org/abs/1511.06452.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.LiftedStructureLoss(margin=0.5)
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        1.493
    """

    metric = "euclidean"

    def __init__(self, margin=1.0, positives="all", negatives="all", average_over="valid", **shared):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        self.margin = margin

    def formula(self, positives, negatives, batch):
        of_anchors = masked_logsumexp(self.margin + negatives.similarity, negatives.mask)
        anchors, references = ops.shape(batch.products)
        beyond = ops.full((references - anchors,), LOWEST, dtype=of_anchors.dtype)
        of_positives = positives.of(ops.concatenate([of_anchors, beyond]))
        of_anchors = of_anchors[:, None]
        largest = ops.stop_gradient(ops.maximum(of_anchors, of_positives))
        of_both = ops.log(ops.exp(of_anchors - largest) + ops.exp(of_positives - largest)) + largest
        violation = hinge(of_both - positives.similarity)
        active = count(ops.logical_and(positives.mask, ops.logical_not(is_at_rest(violation))), violation.dtype)
        valid = count(positives.mask, violation.dtype)
        return Terms(masked_sum(ops.square(violation) / 2, positives.mask), valid, active)
