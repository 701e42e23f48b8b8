"""Hard sampling."""

from keras_epos._checks import integer
from keras_epos.mining._strategy import Strategy, serializable


@serializable
class Hard(Strategy):
    """The `k` hardest candidates: the farthest positives, or the nearest negatives.

    Args:
        k: How many per anchor, at least 1.

    Reference: Hermans et al. 2017, https://arxiv.org/abs/1703.07737.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.NTXentLoss(0.1, positives=keras_epos.Hard())
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.967
    """

    is_by_anchor = True

    def __init__(self, k=1):
        self.k = integer("k", k, 1)

    @property
    def count(self):
        return self.k

    def preference(self, ease, side, threshold=None):
        return -ease
