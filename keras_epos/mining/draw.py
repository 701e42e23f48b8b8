"""Weighted random choice inside the graph, without a random number for each pair."""

import keras
from keras import ops

from keras_epos.mining.strategy import Selection

# Width of a block in `_draw`: cumulative sums run over blocks, then inside one, never over a whole row.
_BLOCK = 64


def draw(weights, mask, generator):
    """One index per row with probability proportional to `weights` (`(A, R)`, 0 outside `mask`).

    Inverts the cumulative sum at one random number per row, in two levels: cumulative sums and random numbers
    of the whole matrix would cost more than the matrix product that made it.
    """
    rows, width = ops.shape(weights)[0], ops.shape(weights)[1]
    blocks = (width + _BLOCK - 1) // _BLOCK
    padded = ops.pad(weights, [[0, 0], [0, blocks * _BLOCK - width]])
    padded = ops.reshape(padded, (rows, blocks, _BLOCK))
    totals = ops.cumsum(ops.sum(padded, axis=-1), axis=-1)
    target = keras.random.uniform((rows, 1), dtype=weights.dtype, seed=generator) * totals[:, -1:]
    block = _crossing(totals, target)
    before = ops.where(block > 0, ops.take_along_axis(totals, ops.maximum(block - 1, 0), axis=-1), 0.0)
    inside = ops.take_along_axis(padded, block[:, :, None], axis=1)[:, 0, :]
    index = block * _BLOCK + _crossing(ops.cumsum(inside, axis=-1), target - before)
    index = ops.minimum(index, width - 1)
    # Rounding may land on an entry of weight 0 next to the right one: take the heaviest of the row then.
    landed = ops.take_along_axis(mask, index, axis=-1)
    index = ops.where(landed, index, ops.cast(ops.argmax(weights, axis=-1)[:, None], index.dtype))
    return Selection(index, ops.take_along_axis(mask, index, axis=-1))


def _crossing(cumulative, target):
    """First position at which a cumulative sum exceeds `target`, `(A, 1)` integers."""
    passed = ops.sum(ops.cast(cumulative <= target, "int32"), axis=-1, keepdims=True)
    return ops.minimum(passed, ops.shape(cumulative)[-1] - 1)
