"""Easy sampling: the heart of the library."""

from keras import ops

from keras_epos._checks import integer
from keras_epos._pairs import LOWEST
from keras_epos.mining._strategy import Strategy, serializable


@serializable
class Easy(Strategy):
    """The `k` easiest candidates: the nearest positives, or the farthest negatives.

    With positives this is easy positive sampling: a class keeps its modes, because an anchor is pulled only
    towards the positives that are already near.

    Args:
        k: How many per anchor, at least 1.
        copies_above: Cosine similarity, in (0, 1]. Positives above it are taken for copies of the anchor's own
            image. 1 turns the guard off; negatives have none.
        copies: What becomes of such copies: `"last"` (chosen only when no other positive is left) or `"drop"`
            (never chosen, as in the released code of Xuan et al.).

    Reference: Levi et al. 2020, https://arxiv.org/abs/2006.05162; the copies: Xuan et al. 2020,
    https://arxiv.org/abs/1904.04370.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.NTXentLoss(0.1, positives=keras_epos.Easy(k=2))
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.967
    """

    is_by_anchor = True

    def __init__(self, k=1, copies_above=0.9999, copies="last"):
        self.k = integer("k", k, 1)
        if not 0 < copies_above <= 1:
            raise ValueError(
                f"`copies_above` must be a cosine similarity in (0, 1]. Received: copies_above={copies_above}"
            )
        if copies not in ("last", "drop"):
            raise ValueError(f'`copies` must be "last" or "drop". Received: copies={copies!r}')
        self.copies_above = copies_above
        self.copies = copies

    @property
    def count(self):
        return self.k

    def preference(self, ease, side, threshold=None):
        # A negative at the opposite pole is no copy.
        if self.copies_above == 1 or side == "negatives":
            return ease
        return ops.where(ease > self.copies_above, LOWEST if self.copies == "drop" else ease - 4.0, ease)
