"""Which samples stand in which batch of a plain shuffle: a pure function of a seed and the step."""

import numpy as np

from keras_epos.data.shuffle import fold, seed_key, shuffled


class ShuffledIndices:
    """Batches that walk through one shuffle of the samples after another, computed from the step alone.

    The last batch of a shuffle is filled up from the next one, so all batches have one size.

    Args:
        num_samples: N, at least 1.
        batch_size: At least 1.
        seed: Integer.
    """

    def __init__(self, num_samples, batch_size, seed=0):
        self.num_samples, self.batch_size = num_samples, batch_size
        self._key = seed_key(seed)

    def __call__(self, step):
        """Sample indices of batch number `step`, int64 `(batch_size,)`."""
        positions = int(step) * self.batch_size + np.arange(self.batch_size)
        turn, place = np.divmod(positions, self.num_samples)
        return shuffled(place, self.num_samples, fold(self._key, turn))
