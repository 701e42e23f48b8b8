"""P classes x K samples a batch from a stream, where samples come one after the other and are seen once."""

import collections
import itertools
import warnings

import numpy as np
from keras import tree

from keras_epos._checks import integer
from keras_epos._labels import refuse_cut_labels


def balanced_stream(samples, classes_per_batch=16, samples_per_class=8, *, buffer_size=10_000, seed=0, passes=None):
    """Yield batches of P distinct classes x K distinct samples of a stream, through a bounded buffer.

        batches = keras_epos.data.balanced_stream(dataset, 8, 4, buffer_size=5_000)
        model.fit(batches, steps_per_epoch=200, epochs=10, shuffle=False)

    The buffer is filled. Then P of the classes that have K samples in it are drawn at random, and K samples of each,
    which leave it; new ones take their places. At the end of a pass the buffer is used up as far as it goes. A sample
    stands in one batch of a pass at most. Those that stand in none are counted, and a warning says how many, once:
    what was left at the end, and, where a full buffer held fewer than P classes of K samples, the oldest ones, which
    had to leave. A buffer of many samples for each class, and a stream in random order, keep their number small.

    Where the data can be read in any order, take `balanced_batches`: it needs no buffer, resumes anywhere and sees
    all classes equally often.

    Args:
        samples: Iterable of pairs `(x, y)`, one sample each: a `tf.data.Dataset` without batches, a generator, or an
            object that can be iterated over again. x is an array or a structure of arrays, all of one shape; y an
            integer.
        classes_per_batch: P.
        samples_per_class: K.
        buffer_size: Samples held at most, at least P * K.
        seed: Integer. The batches depend on it and on the order of the stream only.
        passes: How often to go through `samples`; None: without end, or once where it is an iterator, which cannot
            begin again.

    Returns:
        Generator of `(x, y)`, NumPy arrays `(P * K, ...)` and `(P * K,)`. The K samples of a class stand side by side.

    Raises:
        ValueError: For arguments out of range, and while iterating, for what is no pair of a sample and an integer, or
            a pass without a batch.
    """
    shape = (
        integer("classes_per_batch", classes_per_batch, least=1),
        integer("samples_per_class", samples_per_class, least=1),
    )
    integer("seed", seed)
    integer("buffer_size", buffer_size, least=shape[0] * shape[1])
    if not hasattr(samples, "__iter__"):
        raise ValueError(f"`samples` must be an iterable of pairs (x, y). Received: a {type(samples).__name__}.")
    if passes is not None:
        integer("passes", passes, least=1)
    if iter(samples) is samples:
        if passes not in (None, 1):
            raise ValueError(
                f"`passes` must be 1 or None for an iterator, which cannot begin again. Received: passes={passes}."
            )
        passes = 1
    return _all_passes(samples, shape, buffer_size, seed, passes)


def _all_passes(samples, shape, buffer_size, seed, passes):
    for number in itertools.count() if passes is None else range(passes):
        buffer = _Buffer(*shape, buffer_size, np.random.default_rng([seed % 2**63, number]))
        given = 0
        for batch in buffer.batches(_pairs(samples)):
            given += 1
            yield batch
        if not given:
            raise ValueError(
                f"`samples` must have {shape[0]} classes of {shape[1]} samples among {buffer_size} in a row, the "
                f"`buffer_size`. Received: a stream of {buffer.seen} samples without. Raise `buffer_size`, shuffle the "
                "stream, or lower `classes_per_batch` or `samples_per_class`."
            )
        if number == 0 and buffer.unused:
            warnings.warn(
                f"{buffer.unused} of {buffer.seen} samples stood in no batch of this pass: {buffer.dropped} left a "
                f"full buffer, {buffer.held} of {len(buffer.classes)} classes were left in it at the end. A larger "
                "`buffer_size` and a stream in random order use more of them.",
                stacklevel=2,
            )


def _pairs(samples):
    """Yield checked pairs, as NumPy values."""
    for sample in samples.as_numpy_iterator() if hasattr(samples, "as_numpy_iterator") else samples:
        if not isinstance(sample, (tuple, list)) or len(sample) != 2:
            raise ValueError(f"`samples` must be pairs (x, y). Received: a {type(sample).__name__}.")
        x, y = sample
        y = np.asarray(y)
        if y.dtype.kind not in "iu" or y.shape not in ((), (1,)):
            raise ValueError(
                "`samples` must be pairs (x, y) of one sample and an integer label. Received: a label of dtype "
                f"{y.dtype} and shape {y.shape}. Take batches apart by `dataset.unbatch()`."
            )
        refuse_cut_labels(y, "labels")
        yield x, y.reshape(())[()]


class _Buffer:
    """Samples by class, and in the order of their coming."""

    def __init__(self, classes_per_batch, samples_per_class, size, rng):
        self._num_classes, self._num_samples, self._size, self._rng = classes_per_batch, samples_per_class, size, rng
        self.classes = {}  # class: its samples, {number: x}, oldest first
        self._full = {}  # the classes of K samples or more: a dict, for its order is the same in every run
        self._waiting = collections.OrderedDict()  # number: class, oldest first
        self.seen = self.dropped = 0

    @property
    def held(self):
        return len(self._waiting)

    @property
    def unused(self):
        return self.dropped + self.held

    def batches(self, pairs):
        for x, y in pairs:
            if self.held == self._size:
                if len(self._full) >= self._num_classes:
                    yield self._batch()
                else:
                    self._take(next(iter(self._waiting)))
                    self.dropped += 1
            self._put(x, y)
        while len(self._full) >= self._num_classes:
            yield self._batch()

    def _put(self, x, y):
        of_class = self.classes.setdefault(y, {})
        of_class[self.seen] = x
        self._waiting[self.seen] = y
        self.seen += 1
        if len(of_class) == self._num_samples:
            self._full[y] = None

    def _take(self, number):
        y = self._waiting.pop(number)
        x = self.classes[y].pop(number)
        if len(self.classes[y]) == self._num_samples - 1:
            self._full.pop(y)
        if not self.classes[y]:
            del self.classes[y]
        return x

    def _batch(self):
        classes = list(self._full)
        chosen = [classes[place] for place in self._rng.permutation(len(classes))[: self._num_classes]]
        numbers = [self._rng.permutation(list(self.classes[y]))[: self._num_samples].tolist() for y in chosen]
        examples = [self._take(number) for of_class in numbers for number in of_class]
        return tree.map_structure(lambda *parts: np.stack(parts), *examples), np.repeat(chosen, self._num_samples)
