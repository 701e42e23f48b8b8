"""Generalized lifted structure loss."""

from keras import ops

from keras_epos._checks import one_of
from keras_epos._pairs import hinge, masked_logsumexp
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import METRICS, PairLoss
from keras_epos.losses._terms import Terms


@registered("generalized_lifted_structure")
class GeneralizedLiftedStructureLoss(PairLoss):
    """Puts a smooth maximum over the anchor's positives nearer than one over its negatives, by a margin.

        loss_a = max(0, log sum_p exp(-s_ap) + log sum_n exp(s_an) + margin)
        weight of p = -exp(-s_ap) / sum_k exp(-s_ak),  weight of n = exp(s_an) / sum_k exp(s_ak),  0 at rest

    with `s` the similarity, or the distance negated; with `margin="soft"` the hinge becomes softplus, and the weights
    above are multiplied by its slope. A pair is weighed against its own side only. Every sample more raises the loss,
    so the margin belongs to a size of batch; with `positives="easy", negatives="hard"` it is a triplet loss.

    - Needs: two classes in a batch, and two samples of a class.
    - Choose it when: you want what triplets do with hard mining, but smoothly and with every pair of the anchor.
    - See also: `LiftedStructureLoss`, `TripletLoss`.

    Args:
        margin: Any number in the units of `metric`, or `"soft"`.
        metric: `"euclidean"` (0 to 2 between unit rows), `"squared_euclidean"` (0 to 4) or `"cosine"`.
        positives, negatives, average_over, shared: See `PairLoss`.

    Reference: Hermans et al. 2017, https://arxiv.org/abs/1703.07737.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.GeneralizedLiftedStructureLoss(margin="soft")
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.980
    """

    def __init__(
        self, margin=1.0, metric="euclidean", positives="all", negatives="all", average_over="valid", **shared
    ):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        if margin != "soft" and not isinstance(margin, (int, float)):
            raise ValueError(f'`margin` must be a number or "soft". Received: margin={margin!r}')
        one_of("metric", metric, METRICS)
        self.margin = margin
        self.metric = metric

    def formula(self, positives, negatives, batch):
        pull = masked_logsumexp(-positives.similarity, positives.mask)
        push = masked_logsumexp(negatives.similarity, negatives.mask)
        # Without a pair on one side the sum lies far below zero: at rest.
        value = ops.softplus(pull + push) if self.margin == "soft" else hinge(pull + push + self.margin)
        return Terms(value, None, ops.cast(value > 0, value.dtype))
