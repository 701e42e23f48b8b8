"""Semi-hard sampling."""

from keras import ops

from keras_epos._pairs import LOWEST, is_at_rest, masked_max
from keras_epos.mining._strategy import Selection, Strategy, first_at, serializable


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
        # One for each of a few positives; where all are taken, they come one at a time.
        chosen = [self._one(ease, mask, threshold[:, i : i + 1]) for i in range(threshold.shape[-1])]
        some = ops.concatenate([one.mask for one in chosen], axis=-1)
        return Selection(
            ops.concatenate([one.indices for one in chosen], axis=-1), ops.logical_and(some, threshold > LOWEST)
        )

    def _one(self, ease, mask, threshold):
        # A copy of the positive is as far as that, whatever rounding makes of it.
        farther = ops.logical_and(mask, ops.logical_not(is_at_rest(ease - threshold)))
        nearest = masked_max(-ease, farther)[:, None]
        if self.fallback == "skip":
            return first_at(-ease, farther, nearest)
        is_some = nearest > LOWEST
        otherwise = -ease if self.fallback == "hardest" else ease
        return first_at(
            ops.where(is_some, -ease, otherwise),
            ops.where(is_some, farther, mask),
            ops.where(is_some, nearest, masked_max(otherwise, mask)[:, None]),
        )
