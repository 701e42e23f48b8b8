"""Random sampling."""

import keras
from keras import ops

from keras_epos.mining.draw import draw
from keras_epos.mining.strategy import Strategy, serializable


@serializable
class Random(Strategy):
    """One candidate, each with the same probability.

    Args:
        seed: Integer or `None`.
    """

    def __init__(self, seed=None):
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def select(self, ease, mask, side, threshold=None, dim=None):
        return draw(ops.cast(mask, ease.dtype), mask, self.generator)
