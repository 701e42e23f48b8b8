"""What to do where an input cannot be loaded: an error with its name, or another sample in its place."""

import itertools
import os
import threading
import warnings

import numpy as np
from keras import tree

from keras_epos.data._inputs import describe_error, describe_input, takes_seed


class Replacement:
    """What to do, in Python, with row `row` of batch `step`, whose input `load` cannot take."""

    def __init__(self, inputs, labels, load, indices, replace):
        self._inputs, self._labels, self._load = inputs, labels, load
        self._indices, self._replace = indices, replace
        self._errors = {}  # sample index: why it cannot be loaded, or None where it can
        self._finding_out = threading.Lock()

    def __call__(self, step, row):
        indices = self._indices(int(step))
        seed = self._indices.load_seeds([int(step)])[0, row]
        if not self._replace:
            return self._load_sample(indices[row], seed), self._labels[indices[row]]
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
                f"{describe_input(self._element(indices[row]), indices[row])} gives "
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
                    name = describe_input(self._element(sample), sample)
                    warnings.warn(
                        f"Skipped: {name} cannot be loaded, and another sample of its class takes its place. "
                        f"{describe_error(error.__cause__)}.",
                        stacklevel=2,
                    )
            return self._errors[sample] is None

    def _element(self, sample):
        part = tree.flatten(self._inputs)[0]
        return part[sample]

    def _load_sample(self, sample, seed):
        element = tree.map_structure(lambda part: part[sample], self._inputs)
        try:
            return self._load(element, seed=seed) if takes_seed(self._load) else self._load(element)
        except Exception as error:  # the user's code may raise anything
            raise ValueError(
                f"`inputs` must be such that `load` can take each one. Received: {describe_input(element, sample)}, "
                f'which gives {describe_error(error)}. Repair or remove it, or pass on_error="skip" to train on '
                "another sample of its class in its place."
            ) from error


def map_or_recover(dataset, function, recover):
    """Map `function` in parallel and in order; where it fails at run time, call `recover` instead.

    An op that fails inside tf.data ends the iteration with a message that does not name the input, and nothing in a
    graph can catch it. Here each element gets a tiny data set of its own: the mapped element, errors ignored, followed
    by the recovered one, cut after the first. So the usual case stays in TensorFlow's threads, and only a failure
    enters Python. On top comes CPU time for each element: 0.2 ms where `function` has few ops, 0.8 ms for
    `image_loader`.

    Args:
        dataset: Elements `(arguments, key)`: a tuple for `function`, and a tuple of scalars for `recover`.
        function: TensorFlow ops; `function(*arguments)` gives a structure of tensors of fixed shapes.
        recover: Python; `recover(*key)` with the key as NumPy values gives the same structure, or raises.

    Returns:
        `tf.data.Dataset` of what `function` returns, in the order of `dataset`.
    """
    import tensorflow as tf

    spec = dataset.map(lambda arguments, key: function(*arguments)).element_spec
    flat_spec = tf.nest.flatten(spec)

    def recover_flat(*key):
        # On a GPU machine these few ops would otherwise compete with training.
        with tf.device("CPU:0"):
            return [_to_numpy(value) for value in tf.nest.flatten(recover(*key))]

    def slow(arguments, key):
        values = tf.numpy_function(recover_flat, list(key), [part.dtype for part in flat_spec])
        values = [tf.ensure_shape(v, part.shape) for v, part in zip(values, flat_spec, strict=True)]
        return tf.nest.pack_sequence_as(spec, values)

    def one(arguments, key):
        row = tf.data.Dataset.from_tensors((arguments, key))
        fast = row.map(lambda arguments, key: function(*arguments)).ignore_errors()
        return fast.concatenate(row.map(slow)).take(1)

    # AUTOTUNE would take the number of cores, too few to hide reading from a disk.
    parallel = max(16, 2 * (os.cpu_count() or 1))
    return dataset.interleave(
        one,
        cycle_length=parallel,
        num_parallel_calls=parallel,
        deterministic=True,
    )


def _to_numpy(value):
    return value.numpy() if hasattr(value, "numpy") else value
