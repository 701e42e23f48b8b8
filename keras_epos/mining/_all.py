"""Every candidate takes part."""

from keras_epos.mining._strategy import Selection, Strategy, serializable


@serializable
class All(Strategy):
    """Every candidate.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.NTXentLoss(0.1, positives=keras_epos.All())
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.967
    """

    count = None

    def __init__(self):
        pass

    def select(self, ease, mask, side, threshold=None, dim=None):
        return Selection(None, mask)
