"""Which classes a training step looks at: those of its batch, and others drawn at random without replacement.

Sorting or shuffling all classes would take longer than the step saves. A class is therefore numbered by its place in a
pseudorandom permutation that is never written down: the two digits of the place, in bases of about the root of the
number of classes, are shifted in turns by random tables of the other digit (a Feistel network). Each step draws new
tables and walks the first places.
"""

import math

import keras
from keras import ops

from keras_epos._pairs import is_known

# Shifts of a digit. From four on a permutation by random tables cannot be told from one at random by few of its places
# (Luby and Rackoff 1988).
ROUNDS = 6


def draw_classes(labels, num_classes, number, ignore_label, seed):
    """Distinct classes, those of the batch first and in ascending order.

    Args:
        labels: Integers `(B,)`; what is no class, or is to be ignored, asks for none.
        num_classes: How many classes there are.
        number: How many of them to draw.
        ignore_label: Label of samples that ask for no class, or `None`.
        seed: Generator of random numbers.

    Returns:
        `(classes, of_batch)`: int32 `(number,)` and how many classes the batch has. If these are more than `number`,
        the last of them are not there.
    """
    asks = ops.logical_and(labels >= 0, labels < num_classes)
    if ignore_label is not None:
        asks = ops.logical_and(asks, is_known(labels, ignore_label))
    wanted = ops.sort(ops.cast(ops.where(asks, labels, ops.full_like(labels, num_classes)), "int32"))
    is_first = ops.logical_and(wanted[1:] != wanted[:-1], wanted[1:] < num_classes)
    is_first = ops.concatenate([wanted[:1] < num_classes, is_first])
    places, of_batch = numbered(is_first)
    others = walk(num_classes, number, seed)
    nearest = ops.minimum(ops.searchsorted(wanted, others), ops.shape(wanted)[0] - 1)
    is_new = ops.logical_and(others < num_classes, ops.take(wanted, nearest, axis=0) != others)
    places_of_others, _ = numbered(is_new)
    places = ops.where(is_first, places, number)
    places_of_others = ops.where(is_new, of_batch + places_of_others, number)
    # What has no place goes one beyond the last, and is cut off there.
    places = ops.minimum(ops.concatenate([places, places_of_others]), number)
    found = ops.zeros((number + 1,), dtype="int32")
    found = ops.scatter_update(found, places[:, None], ops.concatenate([wanted, others]))
    return found[:number], of_batch


def walk(num_classes, number, seed):
    """The first places of a random permutation: int32 `(number + few,)`, all different, of which few are no classes."""
    low = math.isqrt(num_classes - 1) + 1
    high = -(-num_classes // low)
    # Two digits tell more numbers apart than there are classes.
    places = ops.arange(number + low * high - num_classes, dtype="int32")
    tables = keras.random.randint((ROUNDS, low), 0, low * high, dtype="int32", seed=seed)
    first, second = places % low, places // low
    for turn in range(0, ROUNDS, 2):
        first = (first + ops.take(tables[turn], second, axis=0)) % low
        second = (second + ops.take(tables[turn + 1], first, axis=0)) % high
    return first + low * second


def numbered(mask):
    """The number of each true entry of `mask`, `(N,)`, counted from 0, and how many there are."""
    counted = ops.cumsum(ops.cast(mask, "int32"))
    return counted - 1, counted[-1]
