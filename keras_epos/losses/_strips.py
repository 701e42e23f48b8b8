"""Anchors by strips, so that what is computed of each with every reference never stands in memory at once."""

import keras
from keras import ops

# Anchors of a strip. Fewer cost time, more cost memory.
STRIP = 512


def by_strips(function, size, dtypes):
    """What `function` finds for every anchor, found for `STRIP` of them at a time.

    Carries no gradient. The last strip is filled up with the last anchor, whose findings are cut off again.

    Args:
        function: Of the positions of anchors `(S,)`, integers, to a tuple of tensors `(S, ...)`.
        size: Number of anchors, at least 1; in a TensorFlow graph it may be a tensor.
        dtypes: Of what `function` returns, a tuple.

    Returns:
        Tuple of tensors `(size, ...)`.
    """
    length = min(size, STRIP) if isinstance(size, int) else ops.minimum(size, STRIP)
    number = (size + length - 1) // length

    def strip(place):
        return function(ops.minimum(place * length + ops.arange(length, dtype="int32"), size - 1))

    backend = keras.backend.backend()
    if backend == "tensorflow":
        found = _in_tensorflow(strip, number, dtypes)
    elif backend == "jax":
        import jax

        found = jax.lax.map(strip, ops.arange(number, dtype="int32"))
    else:
        found = [ops.stack(column) for column in zip(*(strip(place) for place in range(number)), strict=True)]
    return tuple(ops.reshape(column, (-1, *ops.shape(column)[2:]))[:size] for column in found)


def _in_tensorflow(strip, number, dtypes):
    import tensorflow as tf

    def step(place, *arrays):
        return place + 1, *(array.write(place, found) for array, found in zip(arrays, strip(place), strict=True))

    arrays = [tf.TensorArray(dtype, size=number) for dtype in dtypes]
    _, *arrays = one_by_one(lambda place, *arrays: place < number, step, (0, *arrays), maximum_iterations=number)
    return [array.stack() for array in arrays]


def one_by_one(condition, step, state, maximum_iterations=None):
    """`keras.ops.while_loop` whose steps do not overlap: two at a time would take twice the memory."""
    if keras.backend.backend() != "tensorflow":
        return ops.while_loop(condition, step, state, maximum_iterations)
    import tensorflow as tf

    return tf.while_loop(condition, step, state, parallel_iterations=1, maximum_iterations=maximum_iterations)
