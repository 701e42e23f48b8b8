"""Semi-hard sampling."""

from keras import ops

from keras_epos._pairs import LOWEST, for_each_true, is_at_rest
from keras_epos.mining._strategy import Selection, Strategy, first, serializable


@serializable
class SemiHard(Strategy):
    """The hardest negative that is still farther than the selected positive; one for each selected positive.

    Farther means by more than rounding, so a copy of the positive is not.

    Args:
        fallback: What to take when every negative is nearer than the positive: `"easiest"` (the farthest
            negative), `"hardest"` (the nearest) or `"skip"` (none; that pair adds nothing to the loss).

    Reference: Schroff et al. 2015, https://arxiv.org/abs/1503.03832.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.TripletLoss(0.5, negatives=keras_epos.SemiHard(fallback="skip"))
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.100
    """

    relative = True
    is_by_anchor = True
    sides = ("negatives",)

    def __init__(self, fallback="easiest"):
        if fallback not in ("easiest", "hardest", "skip"):
            raise ValueError(f'`fallback` must be "easiest", "hardest" or "skip". Received: fallback={fallback!r}')
        self.fallback = fallback

    def select(self, ease, mask, side, threshold=None, dim=None):
        if threshold.shape[-1] == 1:
            return self._one(ease, mask, threshold)
        return self._one_for_each(ease, mask, threshold)

    def _one(self, ease, mask, threshold):
        # A copy of the positive is as far as that, whatever rounding makes of it.
        farther = ops.logical_and(mask, ops.logical_not(is_at_rest(ease - threshold)))
        if self.fallback == "skip":
            return first(-ease, farther, 1)
        is_some = ops.any(farther, axis=-1, keepdims=True)
        candidates = ops.where(is_some, farther, mask)
        return first(-ease if self.fallback == "hardest" else ops.where(is_some, -ease, ease), candidates, 1)

    def _one_for_each(self, ease, mask, threshold):
        wanted = threshold > LOWEST

        def serve(column, here, indices, valid):
            chosen = self._one(ease, mask, ops.take_along_axis(threshold, column, axis=-1))
            return (
                ops.where(here, ops.cast(chosen.indices, "int32"), indices),
                ops.where(here, chosen.mask, valid),
            )

        start = (ops.zeros_like(wanted, dtype="int32"), ops.zeros_like(wanted))
        return Selection(*for_each_true(wanted, serve, start))
