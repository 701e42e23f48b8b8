"""Smooth-AP loss."""

from keras import ops

from keras_epos._checks import number
from keras_epos._pairs import for_each_true, masked_sum
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._terms import Terms, has_both, zero_with_gradient


@registered("smooth_ap")
class SmoothAPLoss(PairLoss):
    """Raises the average precision of each anchor's ranking, with soft comparisons of similarities.

        loss_a = 1 - (1 / |P|) sum_p R_p / (R_p + N_p) = (1 / |P|) sum_p N_p / (R_p + N_p)
        R_p = 1 + sum over the other positives q of sigmoid((S_aq - S_ap) / temperature),  the rank among positives
        N_p = sum_n sigmoid((S_an - S_ap) / temperature),  how many negatives come first

    For each p, with the slope `s (1 - s) / temperature` of a sigmoid `s`, divided by `|P| (R_p + N_p)^2`:

        weight of n = R_p slope,  of q = -N_p slope,  of p = minus the sum of these

    A positive may be pushed away to let another one pass. With `positives="easy"` the loss is one minus a smooth
    reciprocal rank of the nearest positive: Recall@1 and no more. The anchor is not among its own positives, as in
    evaluation; in the authors' code it is, which makes the loss smaller. An anchor has one term.

    A pass for each positive keeps memory at B^2.

    - Needs: two classes in a batch, and two samples of a class.
    - Choose it when: the order of the results counts, batches are large and hold many samples per class.
    - See also: `FastAPLoss`.

    Args:
        temperature: Positive number in units of similarity; lower is nearer to the true ranks, and fewer pairs have a
            gradient.
        positives, negatives, average_over, shared: See `PairLoss`.

    Reference: Brown et al. 2020, https://arxiv.org/abs/2007.12163.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.SmoothAPLoss(temperature=0.1)
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.297
    """

    def __init__(self, temperature=0.01, positives="all", negatives="all", average_over="valid", **shared):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        number("temperature", temperature, "(0, inf)")
        self.temperature = temperature

    def formula(self, positives, negatives, batch):
        # The passes carry no gradient: they collect the derivatives by the similarities, and a sum of derivative times
        # similarity has exactly the gradient of the loss.
        near, far = ops.stop_gradient(positives.similarity), ops.stop_gradient(negatives.similarity)
        number = ops.sum(ops.cast(positives.mask, near.dtype), axis=-1, keepdims=True)
        number = ops.where(number > 0, number, ops.ones_like(number))

        def coming_first(similarity, mask, threshold):
            """How many are more similar than `threshold`, softly, and the slope of each."""
            soft = ops.sigmoid((similarity - threshold) / self.temperature)
            slope = ops.where(mask, soft * (1 - soft) / self.temperature, ops.zeros_like(soft))
            return masked_sum(soft, mask)[:, None], slope

        def add(column, here, some, total, by_near, by_far):
            threshold = ops.take_along_axis(near, column, axis=-1)
            others = ops.logical_and(positives.mask, ops.logical_not(here))
            rank, slope = coming_first(near, ops.logical_and(others, some), threshold)
            before, far_slope = coming_first(far, ops.logical_and(negatives.mask, some), threshold)
            rank = rank + 1
            scale = 1 / (number * ops.square(rank + before))
            pull, push = scale * before * slope, scale * rank * far_slope
            itself = ops.sum(pull, axis=-1, keepdims=True) - ops.sum(push, axis=-1, keepdims=True)
            by_near = by_near - pull + ops.where(here, itself, ops.zeros_like(pull))
            return total + scale * before * (rank + before), by_near, by_far + push

        start = (ops.zeros_like(number), ops.zeros_like(near), ops.zeros_like(far))
        total, by_near, by_far = (ops.stop_gradient(found) for found in for_each_true(positives.mask, add, start))
        gradient_only = zero_with_gradient(by_near, positives.similarity, positives.mask)
        gradient_only += zero_with_gradient(by_far, negatives.similarity, negatives.mask)
        both = has_both(positives, negatives)
        return Terms(total[:, 0] + gradient_only, None, ops.cast(both, near.dtype))
