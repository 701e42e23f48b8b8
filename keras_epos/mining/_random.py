"""Random sampling."""

from keras import ops

from keras_epos.mining._draw import Drawing
from keras_epos.mining._strategy import serializable


@serializable
class Random(Drawing):
    """One candidate, each with the same probability.

    Args:
        seed: Integer or `None`.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.NTXentLoss(0.1, positives=keras_epos.Random(seed=0))
        >>> value = float(loss(np.array([0, 0, 1, 1]), embeddings))
    """

    def __init__(self, seed=None):
        super().__init__(seed)

    def select(self, ease, mask, side, threshold=None, dim=None):
        return self.draw(lambda ease, mask: ops.cast(mask, ease.dtype), ease, mask)
