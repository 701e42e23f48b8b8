"""Batches as a `keras.utils.PyDataset`, for Keras on JAX and PyTorch."""

import concurrent.futures
import threading

import keras
from keras import tree

from keras_epos._labels import refuse_cut_labels
from keras_epos.data._inputs import as_text, stacked, takes_seed
from keras_epos.data._recovery import Replacement

# Batches prepared while the model trains on one.
_AHEAD = 2


class PyBatches(keras.utils.PyDataset):
    """The batches `(x, y)`, NumPy arrays, in the order of their steps.

    **A batch is the next one of the pass, whatever index it is asked for by**, and asked for again it is the same
    again: Keras shuffles the indices of a `PyDataset` in `fit`, and the stream has its order already. One pass ends and
    the next begins when Keras, or a `for` loop, starts anew after it has seen all `steps` batches; a look at the first
    one, as Keras takes to build a model, counts for nothing.

    Reading, loading and decoding go on in threads, two batches ahead and never beyond the end of a pass.

    Args:
        inputs: Of `as_arrays`.
        labels: `(N,)`, or rows.
        indices: `BatchIndices`, or what has its methods.
        load: Function of one input, or `None`.
        passes: `Passes`.
        replace: Whether another sample takes the place of one that `load` fails on.

    Raises:
        ValueError: If the labels are larger than the backend can hold; in iteration, for what `load` fails on.
    """

    def __init__(self, inputs, labels, indices, load, passes, replace):
        super().__init__()
        refuse_cut_labels(labels, "labels")
        self._inputs, self._labels, self._indices, self._passes = inputs, labels, indices, passes
        self._load = load and _of_text(load)
        self._recover = load and Replacement(inputs, labels, self._load, indices, replace)
        self._places = {}
        self._begun = {}  # step: a future of its batch
        self._choosing = threading.Lock()
        self._reader = concurrent.futures.ThreadPoolExecutor(1)
        self._loaders = concurrent.futures.ThreadPoolExecutor()

    def __len__(self):
        if self._passes.endless:
            raise TypeError("An endless data set has no length: give `fit` the number of batches, steps_per_epoch=...")
        return self._passes.steps

    @property
    def num_batches(self):
        """Batches of a pass, or `None`. Keras reads it when it starts anew; to look at it, use `len`."""
        with self._choosing:
            self._passes.number += len(self._places) == self._passes.steps
            self._forget()
        return None if self._passes.endless else self._passes.steps

    def __getitem__(self, index):
        if not 0 <= index < self._passes.steps:
            raise IndexError(f"`index` must be in [0, {self._passes.steps}). Received: index={index}.")
        with self._choosing:
            place = index if self._passes.endless else self._places.setdefault(index, len(self._places))
            wanted = range(place, min(place + 1 + _AHEAD, self._passes.steps))
            first = self._passes.first(self._passes.number)
            steps = [self._passes.global_step(first + number) for number in wanted]
            for step in steps:
                if step not in self._begun:
                    self._begun[step] = self._reader.submit(self._begin, step)
            batch = self._begun.pop(steps[0])
        return batch.result() if self._load is None else stacked([sample.result() for sample in batch.result()])

    def start_epoch(self, epoch):
        """Let the next pass be that of an epoch, from 0; what `keras_epos.Resume` calls."""
        with self._choosing:
            self._passes.start_epoch(epoch)
            self._forget()

    def _forget(self):
        self._places.clear()
        self._begun.clear()

    def _begin(self, step):
        """Read a batch, and return it or, where its samples are to be loaded, their futures."""
        rows = self._indices(step)
        read = [part[rows] for part in tree.flatten(self._inputs)]
        if self._load is None:
            return tree.pack_sequence_as(self._inputs, read), self._labels[rows]
        return [
            self._loaders.submit(
                self._load_one, tree.pack_sequence_as(self._inputs, element), self._labels[row], seed, step, place
            )
            for place, (*element, row, seed) in enumerate(
                zip(*read, rows, self._indices.load_seeds([step])[0], strict=True)
            )
        ]

    def _load_one(self, element, label, seed, step, place):
        try:
            return (self._load(element, seed=seed) if takes_seed(self._load) else self._load(element)), label
        except Exception:
            return self._recover(step, place)


def _of_text(load):
    """Return `load` for paths that are bytes, as `as_arrays` makes them."""
    if takes_seed(load):
        return lambda element, seed: load(tree.map_structure(as_text, element), seed=seed)
    return lambda element: load(tree.map_structure(as_text, element))
