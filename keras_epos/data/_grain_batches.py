"""Batches as a `grain.IterDataset`, for every backend."""

import contextlib
import math
import multiprocessing
import os
import sys

import keras

from keras_epos._labels import refuse_cut_labels
from keras_epos.data._samples import Samples


def grain_batches(inputs, labels, indices, load, passes, replace):
    """The `grain.IterDataset` of `(x, y)`, NumPy arrays; its parent is the `grain.MapDataset` of all steps.

    Args:
        inputs: Of `as_arrays`.
        labels: `(N,)`, or rows.
        indices: `BatchIndices`, or what has its methods.
        load: Function of one input, or `None`.
        passes: `Passes`, endless ones or the same every time.
        replace: Whether another sample takes the place of one that `load` fails on.

    Raises:
        ImportError: If grain is not installed.
        ValueError: For passes that go on, or if the labels are larger than the backend holds.
    """
    try:
        import grain
    except ImportError as error:
        raise ImportError('`engine="grain"` needs grain: `pip install keras-epos[grain]`.') from error
    if not passes.endless and not passes.same_every_pass:
        raise ValueError(
            f'`steps` must be left out with `engine="grain"`, unless with same_every_pass=True. Received: '
            f"steps={passes.steps}. Each iteration of a grain data set begins at the same step, so each epoch would "
            "train on the same batches. Without an end, fit(..., steps_per_epoch=...) goes on from epoch to epoch."
        )
    refuse_cut_labels(labels, "labels")
    from absl import flags

    if not flags.FLAGS.is_parsed():
        # The workers of grain read their settings there, and fail in a program that does not parse its own by absl.
        flags.FLAGS.mark_as_parsed()
    steps = grain.MapDataset.source(Steps(Samples(inputs, labels, indices, load, replace), passes))
    # As many batches at once as there are threads: grain's own numbers are for single examples.
    threads = min(8, os.cpu_count() or 1)
    return steps.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads))


class Steps:
    """A source of random access for grain, whose element `i` is the batch of step `i` of this shard's own.

    Args:
        samples: `Samples`.
        passes: `Passes`.
    """

    def __init__(self, samples, passes):
        self._samples, self._passes = samples, passes

    def __setstate__(self, state):
        vars(self).update(state)
        if keras.backend.backend() == "tensorflow" and multiprocessing.parent_process() is not None:
            import tensorflow as tf

            # A worker must not take the memory of a GPU away from the process that trains.
            with contextlib.suppress(RuntimeError):
                tf.config.set_visible_devices([], "GPU")

    def __len__(self):
        return sys.maxsize if self._passes.steps == math.inf else self._passes.steps

    def __getitem__(self, index):
        step = self._passes.global_step(self._passes.first(0) + int(index))
        if keras.backend.backend() != "tensorflow":
            return self._samples.batch(step)
        import tensorflow as tf

        with tf.device("CPU:0"):
            return self._samples.batch(step)
