"""What to do where an input cannot be loaded: an error with its name, or another sample in its place."""

import itertools
import os
import warnings
from multiprocessing.pool import ThreadPool

import numpy as np
from keras import tree

from keras_epos.data._inputs import UNREADABLE, describe_error, describe_input, stacked, takes_seed
from keras_epos.data._own_lock import OwnLock


class Replacement:
    """Load row `row` of batch `step` in Python, or do what is to be done where `load` cannot take its input."""

    def __init__(self, inputs, labels, load, indices, replace):
        self._inputs, self._labels, self._load = inputs, labels, load
        self._indices, self._replace = indices, replace
        self._errors = {}  # sample index: why it cannot be loaded, or None where it can
        self._finding_out = OwnLock()

    def __call__(self, step, row):
        indices = self._indices(int(step))
        seed = self._indices.load_seeds([int(step)])[0, row]
        chosen = indices[row]
        try:
            return self._load_sample(chosen, seed), self._labels[chosen]
        except ValueError:
            if not self._replace:
                raise
        chosen = self._replacement(indices, int(step), int(row))
        return self._load_sample(chosen, seed), self._labels[chosen]

    def _replacement(self, indices, step, row):
        """The sample that stands in for `row`: the same whatever was found out before."""
        count = self._indices.samples_per_class
        first = row - row % count
        group = indices[first : first + count].tolist()
        bad = [place for place, sample in enumerate(group) if not self._is_good(sample)]
        if row - first not in bad:
            # Readable after all: a passing fault, of a network drive for example.
            return indices[row]
        spares = self._indices.spares(step, row).tolist()
        in_batch = set(indices.tolist())
        spares = (s for s in spares if s not in in_batch and self._is_good(s))
        # Each unreadable row gets a spare of its own; only when they run out, samples come twice.
        pool = [*itertools.islice(spares, len(bad)), *(s for s in group if self._is_good(s))]
        if not pool:
            name = np.ravel(self._labels[indices[row]])[0]
            which = f"that of input number {indices[row]}" if np.ndim(self._indices.labels) > 1 else f"class {name}"
            raise ValueError(
                f"`inputs` must have a readable sample of every class. Received: {which} without one, as "
                f"{self._name(indices[row])} gives "
                f"{describe_error(self._errors[indices[row]])}."
            )
        return pool[bad.index(row - first) % len(pool)]

    def _is_good(self, sample):
        with self._finding_out:
            if sample not in self._errors:
                try:
                    self._load_sample(sample, np.zeros(2, np.int32))
                    self._errors[sample] = None
                except ValueError as error:
                    self._errors[sample] = error.__cause__
                    name = self._name(sample)
                    warnings.warn(
                        f"Skipped: {name} cannot be loaded, and another sample of its class takes its place. "
                        f"{describe_error(error.__cause__)}.",
                        stacklevel=2,
                    )
            return self._errors[sample] is None

    def _name(self, sample):
        try:
            element = tree.flatten(self._inputs)[0][sample]
        except ValueError:  # a damaged record
            element = None
        return describe_input(element, sample)

    def _load_sample(self, sample, seed):
        try:
            element = tree.map_structure(lambda part: part[sample], self._inputs)
            return self._load(element, seed=seed) if takes_seed(self._load) else self._load(element)
        except Exception as error:  # the user's code may raise anything
            raise ValueError(
                f"`inputs` must be such that `load` can take each one. Received: {self._name(sample)}, "
                f'which gives {describe_error(error)}. Repair or remove it, or pass on_error="skip" to train on '
                "another sample of its class in its place."
            ) from error


def map_or_recover(batches, function, recover):
    """Map `function` over the rows of each batch, in parallel and in order; where one fails, `recover` the batch.

    An op that fails inside tf.data ends the iteration with a message that does not name the input, and nothing in a
    graph can catch it. Here each batch gets a data set of its own: the mapped batch, errors ignored, followed by the
    recovered one, cut after the first. So the usual case stays in TensorFlow's threads, and only a batch with a failure
    enters Python, where its rows are loaded in threads too.

    Args:
        batches: Elements `(arguments, key)`: a tuple of what `function` takes, and a tuple of what `recover` takes, all
            stacked over the rows.
        function: TensorFlow ops; `function(*arguments)` of one row gives a structure of tensors.
        recover: Python; `recover(*key)` of one row, with the key as NumPy values, gives the same structure, or raises.

    Returns:
        `tf.data.Dataset` of what `function` returns, stacked, in the order of `batches`.
    """
    import tensorflow as tf

    # AUTOTUNE would take the number of cores, too few to hide reading from a disk.
    parallel = max(16, 2 * (os.cpu_count() or 1))

    def recover_row(key):
        # On a GPU machine these few ops would otherwise compete with training.
        with tf.device("CPU:0"):
            return recover(*key)

    def recover_batch(*key):
        with ThreadPool(parallel) as pool:
            return tf.nest.flatten(stacked(pool.map(recover_row, zip(*key, strict=True))))

    def checked(*arguments):
        result = function(*arguments)
        texts = [part for part in tf.nest.flatten(arguments) if part.dtype == tf.string]
        # Ignored below as any other error, so no more is said.
        checks = [
            tf.raw_ops.Assert(condition=tf.reduce_all(tf.not_equal(part, UNREADABLE)), data=[""]) for part in texts
        ]
        with tf.control_dependencies(checks):
            return tf.nest.map_structure(tf.identity, result)

    def one(arguments, key):
        rows = tf.data.Dataset.from_tensor_slices(arguments).map(checked, parallel, deterministic=True)
        # Never a part of a batch, and of known size where that is constant.
        mapped = rows.batch(key[0].shape[0] or tf.size(key[0], tf.int64), drop_remainder=True)
        spec = tf.nest.flatten(mapped.element_spec)

        def slow(*key):
            values = tf.numpy_function(recover_batch, key, [part.dtype for part in spec])
            values = [tf.ensure_shape(v, part.shape) for v, part in zip(values, spec, strict=True)]
            return tf.nest.pack_sequence_as(mapped.element_spec, values)

        return mapped.ignore_errors().concatenate(tf.data.Dataset.from_tensors(key).map(slow)).take(1)

    # Two at a time, for the last rows of one batch leave threads to the next.
    return batches.interleave(one, cycle_length=2, num_parallel_calls=2, deterministic=True)
