"""The inner products of all rows with each other, and the way back from them."""

import keras
from keras import ops

from keras_epos._compiler import is_by_xla, is_on_cpu
from keras_epos._pairs import products

# Rows from which on XLA on a CPU goes back in strips, and the rows of a strip.
MANY = 768
STRIP = 256


def products_of_all(rows):
    """Inner product of each row `(B, D)` with every row: `(B, B)`, symmetric, so one product serves the way back."""

    def product(rows):
        def gradient(*derivatives, upstream=None):
            by_products = derivatives[0] if upstream is None else upstream
            if is_by_xla() and is_on_cpu(rows) and (rows.shape[0] or 0) >= MANY:
                return _both_ways_in_strips(by_products, rows)
            return (by_products + ops.transpose(by_products)) @ rows

        return products(rows, rows), gradient

    # JAX has no forward mode, and so no Hessian, through a gradient of one's own.
    return products(rows, rows) if keras.backend.backend() == "jax" else ops.custom_gradient(product)(rows)


def _both_ways_in_strips(matrix, rows):
    """`(matrix + transpose(matrix)) @ rows`, for XLA on a CPU.

    It would fuse the transposition with all that `matrix` is made from, and read memory by strides. The columns of a
    strip are cut out one step ahead: what goes from step to step of a loop stands in memory, and is transposed there.
    """
    size = rows.shape[0]

    def start(step):
        return ops.minimum(step * STRIP, size - STRIP)

    def columns(step):
        return ops.slice(matrix, (0, start(step)), (size, STRIP))

    def step(place, column, found):
        here = start(place)
        both = ops.slice(matrix, (here, 0), (STRIP, size)) + ops.transpose(column)
        return place + 1, columns(place + 1), ops.slice_update(found, (here, 0), both @ rows)

    first, number = ops.convert_to_tensor(0, "int32"), -(-size // STRIP)
    state = first, columns(first), ops.zeros_like(rows)
    return ops.while_loop(lambda place, *_: place < number, step, state, maximum_iterations=number)[2]
