"""Random sampling."""

from keras import ops

from keras_epos.mining.draw import Drawing
from keras_epos.mining.strategy import serializable


@serializable
class Random(Drawing):
    """One candidate, each with the same probability.

    Args:
        seed: Integer or `None`.
    """

    def __init__(self, seed=None):
        super().__init__(seed)

    def select(self, ease, mask, side, threshold=None, dim=None):
        return self.draw(ops.cast(mask, ease.dtype), mask, ease)
