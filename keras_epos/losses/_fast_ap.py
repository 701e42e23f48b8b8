"""FastAP loss."""

from itertools import accumulate

from keras import ops

from keras_epos._checks import integer
from keras_epos._pairs import is_at_rest, masked_sum
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._terms import Terms, zero_with_gradient


@registered("fast_ap")
class FastAPLoss(PairLoss):
    """Raises the average precision of each anchor's ranking, read off soft histograms of its distances.

        loss_a = 1 - (1 / |P|) sum_k h+_k H+_k / H_k = (1 / |P|) sum_k h+_k H-_k / H_k

    `h+_k` counts the positives around the squared distance `4 k / num_bins`, each shared between its two nearest edges
    `k = 0 .. num_bins`; `H+_k` and `H-_k` count positives and negatives up to there, `H = H+ + H-`. With

        g+_k = H-_k / H_k - sum_{l >= k} h+_l H-_l / H_l^2,  g-_k = sum_{l >= k} h+_l H+_l / H_l^2

    a pair between the edges `k` and `k + 1` has the weight `-(g_{k+1} - g_k) num_bins / (2 |P|)`, from the `g` of its
    side. A positive may be pushed away, into a bin where positives are denser. An anchor whose positives all lie in
    nearer bins than its negatives is at rest.

    Memory grows with B^2 and does not grow with `num_bins`.

    - Needs: two classes in a batch, and two samples of a class.
    - Choose it when: the order of the results counts, batches are large and hold many samples per class.
    - See also: `SmoothAPLoss`.

    Args:
        num_bins: Number of bins over squared distances from 0 to 4; more of them rank
            more finely, and leave more anchors at rest.
        positives, negatives, average_over, shared: See `PairLoss`. With `positives="easy"` the loss is one minus a soft
            precision at the nearest positive.

    Reference: Cakir et al. 2019, "Deep Metric Learning to Rank", https://doi.org/10.1109/CVPR.2019.00196.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.FastAPLoss(num_bins=20)
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.250
    """

    metric = "squared_euclidean"

    def __init__(self, num_bins=10, positives="all", negatives="all", average_over="valid", **shared):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        self.num_bins = integer("num_bins", num_bins, 1)

    def formula(self, positives, negatives, batch):
        # Histograms of the whole batch at every edge would be a cube on the way back. They carry no gradient: the
        # pair weights are known, and a sum of weight times similarity has exactly the gradient of the loss.
        near, far = self._place(positives.similarity), self._place(negatives.similarity)
        h, h_far = self._histogram(near, positives.mask), self._histogram(far, negatives.mask)
        within, within_far = up_to_here(h), up_to_here(h_far)
        both = within + within_far
        both = ops.where(both > 0, both, ops.ones_like(both))
        number = ops.sum(h, axis=-1)
        number = ops.where(number > 0, number, ops.ones_like(number))[:, None]
        crowding = h / both * within_far / both
        pull = (within_far / both - from_here_on(crowding)) / number
        push = from_here_on(h / both * within / both) / number
        total = ops.sum(h * within_far / both / number, axis=-1)
        gradient_only = self._along(pull, near, positives) + self._along(push, far, negatives)
        return Terms(total + gradient_only, None, ops.cast(ops.logical_not(is_at_rest(total)), total.dtype))

    def _place(self, similarity):
        """Where a squared distance lies, in bins: `(A, K)` floats in [0, num_bins], without gradient."""
        return ops.clip(ops.stop_gradient(-similarity) * (self.num_bins / 4), 0, self.num_bins)

    def _histogram(self, place, mask):
        """Soft counts `(A, num_bins + 1)` around the edges."""
        counts = [masked_sum(ops.relu(1 - ops.abs(place - edge)), mask) for edge in range(self.num_bins + 1)]
        return ops.stack(counts, axis=-1)

    def _along(self, slope, place, side):
        """`(A,)`, 0 with the gradient of a function of the histogram whose derivative by its bins is `slope`."""
        edge = ops.clip(ops.cast(place, "int32"), 0, self.num_bins - 1)
        rise = ops.take_along_axis(slope[:, 1:] - slope[:, :-1], edge, axis=-1) * (self.num_bins / 4)
        return zero_with_gradient(-rise, side.similarity, side.mask)


def up_to_here(values):
    """Sum from the first column to each."""
    # `ops.cumsum` would turn float64 into float32 on PyTorch.
    return ops.stack(list(accumulate(ops.unstack(values, axis=-1))), axis=-1)


def from_here_on(values):
    """Sum from each column to the last."""
    return ops.flip(up_to_here(ops.flip(values, axis=-1)), axis=-1)
