"""Stateless shuffling: any element of a keyed permutation, without building the permutation."""

import numpy as np

# Two elements stay side by side with probability 2**-ROUNDS; 20 is beyond what training can notice.
ROUNDS = 20
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(values):
    """The splitmix64 hash of `values` (uint64 in, uint64 out)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def fold(key, values):
    """A new key (uint64) for every one of `values` (integers >= 0), given `key` (uint64)."""
    values = np.atleast_1d(np.asarray(values)).astype(np.uint64)
    return mix(key ^ mix((values + np.uint64(1)) * _GOLDEN))


def seed_key(seed):
    """The key, uint64 `(1,)`, that belongs to an integer `seed` of any size or sign."""
    return fold(np.zeros(1, np.uint64), int(seed) % 2**63)


def shuffled(positions, sizes, keys):
    """Where the permutation of `range(size)` named by `key` sends `position`.

    The swap-or-not shuffle (Hoang, Morris, Rogaway, 2012): in each round a position trades places
    with its mirror image about a random pivot, or does not, by a coin that both of them see. It is
    a permutation for every size and costs O(1) an element, so nothing of the size of the data is
    built.

    Args:
        positions: Integers in `[0, sizes)`.
        sizes: Integers >= 1.
        keys: uint64; the three arguments broadcast against each other.

    Returns:
        int64 array of the broadcast shape, in `[0, sizes)`.
    """
    sizes = np.asarray(sizes).astype(np.uint64)
    positions = np.asarray(positions).astype(np.uint64)
    for turn in range(1, ROUNDS + 1):
        round_key = fold(keys, turn)
        mirrored = round_key % sizes + sizes - positions
        mirrored = np.where(mirrored >= sizes, mirrored - sizes, mirrored)
        coin = mix(round_key ^ mix(np.maximum(positions, mirrored) + _GOLDEN)) >> np.uint64(63)
        positions = np.where(coin.astype(bool), mirrored, positions)
    return positions.astype(np.int64)
