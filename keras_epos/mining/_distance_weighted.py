"""Distance-weighted sampling."""

from keras import ops

from keras_epos._pairs import masked_max, masked_min
from keras_epos.mining._draw import Drawing
from keras_epos.mining._strategy import serializable


@serializable
class DistanceWeighted(Drawing):
    """One negative, drawn so that all distances are equally likely.

    On the unit sphere in `D` dimensions most pairs are near sqrt(2) apart, with density
    `q(d) = d^(D-2) (1 - d^2/4)^((D-3)/2)`; a negative at distance `d` is drawn with weight `1 / q(max(d,
    cutoff))`, and 0 beyond `upper_cutoff`, where common losses are flat. When every negative lies beyond it, the
    nearest one is taken. Needs unit embeddings.

    Args:
        cutoff: Smallest distance told apart, in (0, 2): nearer negatives are as likely as those at `cutoff`.
        upper_cutoff: Largest distance drawn, in (`cutoff`, 2], or `None` for no limit.
        seed: Integer or `None`.

    Reference: Wu et al. 2017, https://arxiv.org/abs/1706.07567.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.MarginLoss(negatives=keras_epos.DistanceWeighted(seed=0))
        >>> value = float(loss(np.array([0, 0, 1, 1]), embeddings))
    """

    sides = ("negatives",)

    def __init__(self, cutoff=0.5, upper_cutoff=1.4, seed=None):
        if not 0 < cutoff < 2:
            raise ValueError(f"`cutoff` must be a distance in (0, 2). Received: cutoff={cutoff}")
        if upper_cutoff is not None and not cutoff < upper_cutoff <= 2:
            raise ValueError(
                f"`upper_cutoff` must be a distance in (cutoff, 2] or None. Received: upper_cutoff={upper_cutoff}"
            )
        self.cutoff = cutoff
        self.upper_cutoff = upper_cutoff
        super().__init__(seed)

    def select(self, ease, mask, side, threshold=None, dim=None):
        return self.draw(lambda ease, mask: self.weights(-ease, mask, dim), ease, mask)

    def weights(self, similarity, mask, dim):
        """Unnormalized probabilities `(A, R)`, 0 for what is not drawn."""
        nearest = masked_max(similarity, mask)[:, None]
        farthest = nearest
        if self.upper_cutoff is not None:
            smallest = 1.0 - self.upper_cutoff**2 / 2.0
            mask = ops.logical_and(mask, similarity >= ops.where(nearest < smallest, nearest, smallest))
        if self.upper_cutoff is None or self.upper_cutoff**2 > 2.0:
            farthest = masked_min(similarity, mask)[:, None]
        # Weights fall up to a distance of sqrt(2) and rise from there, so the largest is at one of the ends.
        ends = [power + ops.log(factor) for power, factor in (self._weight(end, dim) for end in (nearest, farthest))]
        power, factor = self._weight(similarity, dim)
        return ops.where(mask, ops.exp(power - ops.maximum(*ends)) * factor, 0.0)

    def _weight(self, similarity, dim):
        """`1 / q` as a power of e and a factor. With the cosine `s`, `d^2 = 2 - 2s` and `1 - d^2 / 4 = (1 + s) / 2`."""
        ends = (ops.convert_to_tensor(end, similarity.dtype) for end in (-0.9995, 1.0 - self.cutoff**2 / 2.0))
        inside = ops.clip(similarity, *ends)
        return -0.5 * (dim - 3.0) * ops.log((1.0 - inside) * (1.0 + inside)), ops.rsqrt(2.0 - 2.0 * inside)
