"""What the backend's matrix product keeps of its factors, and how to lose nothing where it rounds them."""

import numpy as np
from keras import ops


def significant_bits(dim, block_size):
    """Bits of the factors that the backend's matrix product keeps: 24 in float32, 11 in TF32, 8 in bfloat16.

    GPUs and TPUs round silently unless told otherwise, by settings that differ per backend; so it is tried out.
    """
    left = np.zeros((block_size, dim), np.float32)
    left[:, 0] = 1
    right = np.zeros((dim, 4 * block_size), np.float32)
    right[0] = 1 + 2.0**-12
    right[0, ::2] = 1 + 2.0**-9
    product = ops.convert_to_numpy(ops.matmul(ops.convert_to_tensor(left), ops.convert_to_tensor(right)))
    kept = product == right[:1]
    return 24 if kept.all() else 11 if kept[:, ::2].all() else 8


def error_bound(dim, bits):
    """The largest |computed - exact| of unit rows: a sum of `dim` float32 products in any order, and their rounding.

    Where the backend rounds the factors, also what `factors` leaves out.
    """
    if bits == 24:
        return (dim + 16) * 2.0**-24
    return (3 * dim + 16) * 2.0**-24 + 4 * 2.0 ** (2 - 2 * bits)


def factors(rows, bits, side):
    """Float32 factors whose product is that of `rows`, though the matrix product keeps only `bits` bits of each.

    Each number is cut into a head that survives rounding and a tail: `a b = head head + head tail + tail head`, laid
    side by side so that one product of three times the width adds them up.
    """
    rows = rows.astype(np.float32)
    if bits == 24:
        return rows
    mask = np.uint32(0xFFFFFFFF << (24 - bits) & 0xFFFFFFFF)
    head = (rows.view(np.uint32) & mask).view(np.float32)
    tail = rows - head
    return np.concatenate([head, tail, head] if side else [head, head, tail], axis=1)
