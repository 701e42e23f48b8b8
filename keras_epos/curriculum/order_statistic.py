"""The value of a given rank among more numbers than fit into memory."""

import numpy as np

# Bits of a float that is not negative; as an integer they are ordered as the float is.
BITS = 63
DIGIT = 16


def order_statistic(read, rank, count, limit=2**22):
    """The value that stands at `rank` when all values are sorted.

    Radix selection: counts the leading bits, keeps the values that share those of the value sought, and goes on with
    the next bits, until few enough are left to be sorted. Ties do no harm. At most five passes.

    Args:
        read: Function that yields the values, float64 arrays `(m,)` without negative ones, the same at every call.
        rank: Integer from 0 to `count - 1`.
        count: How many values there are in all.
        limit: How many values may be held at once.

    Returns:
        Float, one of the values.
    """
    prefix, shift = 0, BITS
    while count > limit and shift > 0:
        width = min(DIGIT, shift)
        shift -= width
        histogram = np.zeros(2**width, np.int64)
        for values in _sharing(read, prefix, shift + width):
            digits = (values.view(np.int64) >> shift) & (2**width - 1)
            histogram += np.bincount(digits, minlength=2**width)
        reached = np.cumsum(histogram)
        digit = int(np.searchsorted(reached, rank, side="right"))
        count = int(histogram[digit])
        rank -= int(reached[digit]) - count
        prefix = (prefix << width) | digit
    if shift == 0:
        return float(np.int64(prefix).view(np.float64))
    return float(np.partition(np.concatenate(list(_sharing(read, prefix, shift))), rank)[rank])


def _sharing(read, prefix, shift):
    """The values whose bits above `shift` are `prefix`."""
    for values in read():
        yield values[values.view(np.int64) >> shift == prefix]
