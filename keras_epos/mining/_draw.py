"""Weighted random choice inside the graph, without a random number for each pair."""

import keras
from keras import ops

from keras_epos._compiler import compiled_if_quicker
from keras_epos.mining._strategy import Selection, Strategy

# Width of a block: cumulative sums run over blocks, then inside one, never over a whole row.
_BLOCK = 64


class Drawing(Strategy):
    """Base of the strategies that choose at random.

    Args:
        seed: Integer or `None`.
    """

    def __init__(self, seed=None):
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)
        self._is_adopted = False

    def adopt(self):
        self._is_adopted = True
        return [self.generator]

    def draw(self, weigh, ease, mask):
        """One index per row with probability proportional to `weigh(ease, mask)` (`(A, R)`, 0 for none)."""

        def choose(ease, mask, share):
            return _at_share(weigh(ease, mask), share)

        # Not within `choose`: XLA draws other numbers.
        share = keras.random.uniform((ops.shape(ease)[0], 1), dtype=ease.dtype, seed=self._seed(ease))
        return compiled_if_quicker(choose, ease, mask, share)

    def _seed(self, ease):
        if self._is_adopted or keras.backend.backend() != "jax":
            return self.generator
        # Compiled by JAX a generator that no model tracks would draw the same in every step, since its new state never
        # leaves the step. The batch itself is what changes then: its similarities make the seed another one.
        import jax

        bits = jax.lax.bitcast_convert_type(ops.cast(ops.sum(ease, axis=-1), "float32"), "uint32")
        mixed = bits * (2 * jax.numpy.arange(bits.shape[0], dtype="uint32") + 1)
        mixed = mixed ^ (mixed >> 15)
        return self.generator.next() ^ jax.numpy.sum(mixed * jax.numpy.uint32(2654435769), dtype="uint32")


def _at_share(weights, share):
    """Where the cumulative sum of weights `(A, R)` passes a share `(A, 1)` of the total, as a `Selection`.

    In two levels, since a cumulative sum of the whole matrix would cost more than the matrix product that made it.
    """
    rows, width = ops.shape(weights)[0], ops.shape(weights)[1]
    blocks = (width + _BLOCK - 1) // _BLOCK
    padded = ops.pad(weights, [[0, 0], [0, blocks * _BLOCK - width]])
    padded = ops.reshape(padded, (rows, blocks, _BLOCK))
    sums = ops.sum(padded, axis=-1)
    totals = ops.cumsum(sums, axis=-1)
    # Not by `-1:`, whose length a graph for batches of any size would not know.
    total = totals[:, -1][:, None]
    target = share * total
    block = _crossing(totals, target, sums)
    before = ops.where(block > 0, ops.take_along_axis(totals, ops.maximum(block - 1, 0), axis=-1), 0.0)
    inside = ops.take_along_axis(padded, block[:, :, None], axis=1)[:, 0, :]
    index = block * _BLOCK + _crossing(ops.cumsum(inside, axis=-1), target - before, inside)
    return Selection(index, total > 0)


def _crossing(cumulative, target, weights):
    """First position at which the cumulative sum of weights exceeds `target`, `(A, 1)` integers."""
    passed = ops.sum(ops.cast(cumulative <= target, "int32"), axis=-1, keepdims=True)
    position = ops.minimum(passed, ops.shape(cumulative)[-1] - 1)
    # Rounding may land next to the right one, where there is nothing: take the heaviest then.
    landed = ops.take_along_axis(weights, position, axis=-1) > 0
    return ops.where(landed, position, ops.cast(ops.argmax(weights, axis=-1, keepdims=True), position.dtype))
