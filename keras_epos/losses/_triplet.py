"""Triplet loss."""

from keras import ops

from keras_epos._checks import one_of
from keras_epos._pairs import count, for_each_true, hinge, is_at_rest, masked_sum
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import METRICS, PairLoss
from keras_epos.losses._terms import Terms, zero_with_gradient


@registered("triplet")
class TripletLoss(PairLoss):
    """Puts each selected negative farther from its anchor than the selected positive, by a margin.

    Anchor `a` with positives `p` and negatives `n`, where `s` is the similarity, or the distance negated:

        loss_a = sum over (p, n) of max(0, s_an - s_ap + margin)
        weight of p = -(number of active n),  weight of n = (number of active p)

    and with `margin="soft"` the hinge becomes `log(1 + exp(s_an - s_ap))`. With `negatives="semi_hard"` each
    positive has its own negative; otherwise all pairs of what was selected count, in O(B^2) memory.

    Easy positives differ from all positives from three samples of a class on.

    - Needs: two classes in a batch, and two samples of a class.
    - Choose it when: you want the best-known baseline; with `positives="easy"` classes keep their looks.
    - See also: `EasyPositiveTripletLoss`, `TupletMarginLoss`.

    Args:
        margin: Positive number in the units of `metric`, or `"soft"`.
        metric: `"squared_euclidean"` (0 to 4 between unit rows), `"euclidean"` (0 to 2) or `"cosine"`.
        positives, negatives, average_over, shared: See `PairLoss`.

    References: Schroff et al. 2015, https://arxiv.org/abs/1503.03832; soft: Hermans et al. 2017,
    https://arxiv.org/abs/1703.07737.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.TripletLoss(0.5, positives="easy")
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.100
    """

    has_triplets = True

    def __init__(
        self,
        margin=0.2,
        metric="squared_euclidean",
        positives="all",
        negatives="semi_hard",
        average_over="active",
        **shared,
    ):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        if margin != "soft" and not (isinstance(margin, (int, float)) and margin > 0):
            raise ValueError(f'`margin` must be a positive number or "soft". Received: margin={margin!r}')
        one_of("metric", metric, METRICS)
        self.margin = margin
        self.metric = metric

    def formula(self, positives, negatives, batch):
        if negatives.paired or 1 in (positives.mask.shape[-1], negatives.mask.shape[-1]):
            mask = ops.logical_and(positives.mask, negatives.mask)
            value, slope = self._violation(negatives.similarity - positives.similarity)
            active = count(ops.logical_and(mask, slope > 0), value.dtype)
            return Terms(masked_sum(value, mask), count(mask, value.dtype), active)
        return self._every_combination(positives, negatives)

    def _violation(self, gap):
        """Value of a triplet with `gap = s_an - s_ap`, and the derivative by it."""
        if self.margin == "soft":
            return ops.softplus(gap), ops.sigmoid(gap)
        gap = gap + self.margin
        return hinge(gap), ops.cast(ops.logical_not(is_at_rest(gap)), gap.dtype)

    def _every_combination(self, positives, negatives):
        # A pass for each positive of an anchor instead of a B x B x B tensor. The passes carry no gradient: they
        # collect the pair weights, and a sum of weight times similarity has exactly the gradient of the loss.
        near, far = ops.stop_gradient(positives.similarity), ops.stop_gradient(negatives.similarity)

        def add(column, here, some, total, active, pull, push):
            mask = ops.logical_and(some, negatives.mask)
            value, slope = self._violation(far - ops.take_along_axis(near, column, axis=-1))
            slope = ops.where(mask, slope, 0)
            pull = pull + ops.where(here, ops.sum(slope, axis=-1, keepdims=True), 0)
            return total + masked_sum(value, mask), active + count(slope > 0, far.dtype), pull, push + slope

        none = ops.zeros_like(near[:, 0])
        start = (none, none, ops.zeros_like(near), ops.zeros_like(far))
        total, active, pull, push = for_each_true(positives.mask, add, start)
        gradient_only = zero_with_gradient(push, negatives.similarity, negatives.mask)
        gradient_only -= zero_with_gradient(pull, positives.similarity, positives.mask)
        valid = count(positives.mask, near.dtype) * count(negatives.mask, near.dtype)
        return Terms(ops.stop_gradient(total) + gradient_only, valid, active)


@registered("easy_positive_triplet")
class EasyPositiveTripletLoss(TripletLoss):
    """Triplet loss that pulls each anchor only towards its nearest positive, so a class keeps its modes.

    `TripletLoss(positives="easy", negatives="semi_hard")` under a name of its own.

    - Needs: two classes in a batch, and 4 or more samples per class: with 2, easy positives are all positives.
    - Choose it when: classes have several looks, or labels are wrong.
    - See also: `TripletLoss`, `keras_epos.Easy`.

    The arguments are those of `TripletLoss`.

    Reference: Levi et al. 2020, https://arxiv.org/abs/2006.05162.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.EasyPositiveTripletLoss(margin=0.5)
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.100
    """

    def __init__(
        self,
        margin=0.2,
        metric="squared_euclidean",
        positives="easy",
        negatives="semi_hard",
        average_over="active",
        **shared,
    ):
        super().__init__(margin, metric, positives, negatives, average_over, **shared)
