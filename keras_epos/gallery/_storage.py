"""What a row of a gallery is kept as: numbers of four kinds, each divided by a norm of its own to be a unit row."""

import numpy as np

from keras_epos._rows import blocks

# Bytes that are turned from one kind into another at a time.
AT_ONCE = 2**23
# Exponents beyond which a float32 row is scaled, by a power of two, so that no sum of squares leaves float32.
_EXPONENT = 40


class Float32:
    """The rows as they came, if they came as float32."""

    dtype, is_rescored = np.dtype(np.float32), False

    @staticmethod
    def width(dim):
        return dim

    @staticmethod
    def encode(rows):
        return rows

    @staticmethod
    def decode(values, dim):
        return values


class Float16(Float32):
    """Eleven significant bits of each number."""

    dtype = np.dtype(np.float16)

    @staticmethod
    def encode(rows):
        return (rows / _largest(rows)).astype(np.float16)

    @staticmethod
    def decode(values, dim):
        return values.astype(np.float32)


class Int8(Float16):
    """Integers from -127 to 127, the largest number of each row being 127."""

    dtype, is_rescored = np.dtype(np.int8), True

    @staticmethod
    def encode(rows):
        return np.rint(rows / _largest(rows) * np.float32(127)).astype(np.int8)


class Binary(Float32):
    """The signs."""

    dtype, is_rescored = np.dtype(np.uint8), True
    _SIGNS = (2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1) - 1).astype(np.float32)

    @staticmethod
    def width(dim):
        return -(-dim // 8)

    @staticmethod
    def encode(rows):
        return np.packbits(rows > 0, axis=1)

    @classmethod
    def decode(cls, values, dim):
        return cls._SIGNS[values].reshape(len(values), -1)[:, :dim]


STORAGES = {"float32": Float32, "float16": Float16, "int8": Int8, "binary": Binary}


def as_float32(rows):
    """Yields float32 parts of `rows`, a `Rows`: what came as float32 as it is, and unit rows of anything else."""
    for part in blocks(np.arange(len(rows)), max(1, AT_ONCE // (8 * rows.dim))):
        if rows.values.dtype != np.float32:
            yield rows.unit(part).astype(np.float32)
            continue
        values = rows.values[part]
        exponent = np.frexp(np.abs(values).max(axis=1))[1]
        # To scale by a power of two leaves the direction as it is, to the last bit.
        yield np.ldexp(values, np.where(np.abs(exponent) > _EXPONENT, -exponent, 0)[:, None])


def norms_of(rows):
    """What rows are divided by to be unit rows, float64; infinity for zeros, which stay zeros."""
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    norms[norms == 0] = np.inf
    return norms


def _largest(rows):
    largest = np.abs(rows).max(axis=1, keepdims=True)
    return np.where(largest > 0, largest, np.float32(1))
