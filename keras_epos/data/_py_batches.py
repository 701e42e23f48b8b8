"""Batches as a `keras.utils.PyDataset`, for Keras on JAX and PyTorch."""

import concurrent.futures
import threading

import keras

from keras_epos._labels import refuse_cut_labels
from keras_epos.data._inputs import stacked
from keras_epos.data._samples import Samples

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
        self._samples, self._passes = Samples(inputs, labels, indices, load, replace), passes
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
        batch = batch.result()
        return stacked([sample.result() for sample in batch]) if self._samples.are_loaded else batch

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
        if not self._samples.are_loaded:
            return self._samples.gather(step)
        return [self._loaders.submit(self._samples.load, *sample) for sample in self._samples.to_load(step)]
