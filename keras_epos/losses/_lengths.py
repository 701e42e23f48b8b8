"""Lengths of embeddings, and angles that grow by them: what face losses take the quality of a sample from."""

import keras
from keras import ops


def lengths(vectors):
    """Euclidean norms of rows `(B, D)`: `(B, 1)`. A row of zeros has length 0 and a zero gradient.

    Rows are first divided by their largest entry, so neither tiny nor huge rows under- or overflow.
    """
    largest = ops.stop_gradient(ops.max(ops.abs(vectors), axis=-1, keepdims=True))
    is_zero = largest == 0
    scaled = vectors / ops.where(is_zero, ops.ones_like(largest), largest)
    squares = ops.sum(ops.square(scaled), axis=-1, keepdims=True)
    return largest * ops.sqrt(ops.where(is_zero, ops.ones_like(squares), squares))


def turned(similarity, angle):
    """`cos(arccos(similarity) + angle)`, without the gradient of an arccosine, which is infinite at 1 and -1."""
    squared_sine = 1 - ops.square(similarity)
    # The root has no derivative at 0, and rounding can leave less.
    is_between = squared_sine > 0
    sine = ops.where(is_between, ops.sqrt(ops.where(is_between, squared_sine, 1.0)), 0.0)
    return similarity * cos(angle) - sine * sin(angle)


def cos(angle):
    return _of_backend().cos(angle)


def sin(angle):
    return _of_backend().sin(angle)


def _of_backend():
    """Keras on JAX rounds float64 angles to float32."""
    if keras.backend.backend() != "jax":
        return ops
    import jax.numpy

    return jax.numpy
