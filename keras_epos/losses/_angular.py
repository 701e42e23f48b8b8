"""Angular loss."""

import math

from keras import ops

from keras_epos._checks import number
from keras_epos._pairs import count, masked_sum
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._terms import Terms


@registered("angular")
class AngularLoss(PairLoss):
    """Bounds the angle at the negative in the triangle of anchor, positive and negative.

        loss_a = sum_p log(1 + sum_n exp(4 t (S_an + S_pn) - 2 (1 + t) S_ap)),  t = tan(alpha)^2
        weight of the pair (a, p) = -2 (1 + t) q,  of (a, n) and of (p, n) = 4 t q_n, where q = sum_n q_n and
        q_n = exp(z_n) / (1 + sum_k exp(z_k)), with z_n the exponent of n

    A negative is compared with both ends of a positive pair, so a term also moves `n` against `p`. The angle does not
    change with the scale of the triangle, which spares a margin that fits all classes. A term for each selected
    positive; positives from a memory have none, since only rows of the batch are compared with the negatives.
    `negatives="semi_hard"` needs one positive an anchor. The paper also adds the N-pairs loss: `WeightedSum` does.

    - Needs: two classes in a batch, and two samples of a class.
    - Choose it when: one margin does not fit all classes: an angle does not change with scale.
    - See also: `TripletLoss`, `NPairsLoss`.

    Args:
        alpha: Upper bound of that angle in degrees, in (0, 60]. Larger lets the negatives weigh more than the positive.
        positives, negatives, average_over, shared: See `PairLoss`.

    Reference: Wang et al. 2017, https://arxiv.org/abs/1708.01682.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.AngularLoss(alpha=40.0)
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        1.895
    """

    def __init__(self, alpha=45.0, positives="all", negatives="all", average_over="valid", **shared):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        number("alpha", alpha, "(0, 60]", "an angle in degrees,")
        self.alpha = alpha

    def formula(self, positives, negatives, batch):
        tan_squared = math.tan(math.radians(self.alpha)) ** 2
        # exp(4 t (S_an + S_pn)) is a product of two factors, so its sum over n is one of two rows, in O(B^2) memory.
        # Both factors are at most 1, and far from underflow: at least exp(-24) at 60 degrees.
        factors = ops.exp(4 * tan_squared * (batch.products - 1))
        sums = self._sums(ops.where(everywhere(negatives, factors), factors, 0), factors, positives)
        mask = ops.logical_and(positives.mask, sums > 0)
        push = ops.log(ops.where(mask, sums, 1.0)) + 8 * tan_squared
        value = ops.softplus(push - 2 * (1 + tan_squared) * positives.similarity)
        number = count(mask, value.dtype)
        return Terms(masked_sum(value, mask), number, number)

    def _sums(self, of_negatives, factors, positives):
        """Inner products of the rows of anchors with those of their positives, `(A, K)`; 0 for what is no anchor."""
        anchors = ops.shape(factors)[0]
        if positives.indices is not None and positives.mask.shape[-1] == 1:
            of_positives = ops.take(factors, ops.minimum(positives.indices[:, 0], anchors - 1), axis=0)
            sums = ops.sum(of_negatives * of_positives, axis=-1, keepdims=True)
            return ops.where(positives.indices < anchors, sums, 0)
        sums = of_negatives @ ops.transpose(factors)
        return positives.of(ops.concatenate([sums, ops.zeros_like(factors[:, anchors:])], axis=-1))


def everywhere(side, matrix):
    """The mask of a side as booleans in the shape of `matrix`, `(A, R)`, one column for each reference."""
    if side.indices is None:
        return side.mask
    references = ops.arange(ops.shape(matrix)[1], dtype="int32")
    here = ops.cast(side.indices, references.dtype)[:, :, None] == references
    return ops.any(ops.logical_and(side.mask[:, :, None], here), axis=1)
