"""The samples of each class, one class after the other, in little memory."""

import numpy as np

# Samples that are worked on at once where there are too many for another array of all.
_BLOCK = 2**20


def members_of(labels):
    """Samples of each class.

    Args:
        labels: Integers `(N,)`, or rows of zeros and ones `(N, L)` whose columns are the classes.

    Returns:
        `(members, sizes)`: sample indices, class after class, and how many of them each class has.
    """
    if labels.ndim == 2:
        classes, members = np.nonzero(labels.T)
        return members, np.bincount(classes, minlength=labels.shape[1])
    number = len(labels)
    bits = max(1, (number - 1).bit_length())
    lowest = int(labels.min())
    if (int(labels.max()) - lowest).bit_length() + bits <= 64:
        members, begins = _by_keys(labels, lowest, bits)
    else:
        members = np.argsort(labels, kind="stable")
        begins = _changes(number, lambda rows: labels[members[rows]])
    starts = np.concatenate([[0], *begins])
    return members, np.diff(starts, append=number)


def _by_keys(labels, lowest, bits):
    """The same as sorting the samples by label, in half the memory and time: label and sample are sorted as one number.

    Args:
        labels: Integers `(N,)`.
        lowest: Of them.
        bits: That a sample index takes.

    Returns:
        `(members, begins)`: uint32 or int64 `(N,)`, and where in it classes begin but for the first one, in blocks.
    """
    number = len(labels)
    keys = np.empty(number, np.uint64)
    for rows in _blocks(number):
        # Modulo 2**64, so that a negative lowest label is right too.
        above = labels[rows].astype(np.uint64) - np.uint64(lowest % 2**64)
        keys[rows] = (above << np.uint64(bits)) | np.arange(rows.start, rows.stop, dtype=np.uint64)
    keys.sort()
    members = np.empty(number, np.uint32 if bits <= 32 else np.int64)
    for rows in _blocks(number):
        members[rows] = keys[rows] & np.uint64(2**bits - 1)
    return members, _changes(number, lambda rows: keys[rows] >> np.uint64(bits))


def _changes(number, values):
    """Where `values(slice)` of `range(number)` differ from the one before, a list of arrays."""
    found = []
    for rows in _blocks(number):
        here = values(slice(max(rows.start - 1, 0), rows.stop))
        found.append(np.flatnonzero(here[1:] != here[:-1]) + max(rows.start, 1))
    return found


def _blocks(number):
    return (slice(first, min(first + _BLOCK, number)) for first in range(0, number, _BLOCK))
