"""Semi-hard sampling."""

from keras import ops

from keras_epos._pairs import LOWEST, rounding
from keras_epos.mining._strategy import Strategy, serializable


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

    def preference(self, ease, side, threshold=None):
        # What is not farther comes after all that is: cosines take up 2 of the 3.
        otherwise = {"easiest": ease - 3.0, "hardest": -ease - 3.0, "skip": LOWEST}[self.fallback]
        # A copy of the positive is as far as that, whatever rounding makes of it.
        return ops.where(ease > threshold + rounding(ease.dtype), -ease, otherwise)
