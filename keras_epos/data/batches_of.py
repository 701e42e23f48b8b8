"""From the indices of batches to a `tf.data.Dataset` of what they name."""

import itertools
import math

import numpy as np
from keras import tree

from keras_epos.data.inputs import as_arrays, takes_seed
from keras_epos.data.recovery import map_or_recover
from keras_epos.data.replacement import Replacement

# Batches computed by one call into NumPy: enough to share its overhead, and a wait of ~1 ms only.
_STEPS_PER_CALL = 16


def batches_of(inputs, labels, indices, *, load, ids, on_error, start_step, steps, num_shards=1, shard_index=0):
    """Yield `(x, y)` of the batches that `indices(step)` names, step by step, from pass to pass.

    Args:
        labels: Checked, `(N,)` or `(N, L)`.
        indices: `BatchIndices`, or what has its methods.
        inputs, load, ids, on_error, start_step, steps, num_shards, shard_index: See `balanced_batches`.

    Raises:
        ValueError: If an argument is out of range.
    """
    import tensorflow as tf

    inputs = as_arrays(inputs, len(labels))
    steps = _checked_steps(on_error, start_step, steps, num_shards, shard_index, indices)
    if ids:
        labels = np.column_stack([labels.astype(np.int64), np.arange(len(labels))])
    numbers = _step_numbers(start_step, steps).map(lambda n: n * num_shards + shard_index)
    if load is None:
        dataset = _stacked(numbers, inputs, labels, indices)
    else:
        recover = Replacement(inputs, labels, load, indices, replace=on_error == "skip")
        dataset = _loaded(numbers, inputs, labels, load, indices, recover)
    cardinality = tf.data.INFINITE_CARDINALITY if steps == math.inf else int(steps)
    options = tf.data.Options()
    # Keras makes an iterator after each epoch that it never reads; it must not count as a pass. Nor may one that is
    # made ahead of its epoch draw from what `indices` knew in the epoch before.
    options.experimental_warm_start = False
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(cardinality))
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)


def _checked_steps(on_error, start_step, steps, num_shards, shard_index, indices):
    """Return the batches of a pass, an integer or infinity."""
    if on_error not in ("raise", "skip"):
        raise ValueError(f"`on_error` must be 'raise' or 'skip'. Received: on_error={on_error!r}.")
    if not 0 <= shard_index < num_shards:
        raise ValueError(
            f"`shard_index` must be in [0, num_shards). Received: shard_index={shard_index}, num_shards={num_shards}."
        )
    if start_step < 0:
        raise ValueError(f"`start_step` must be at least 0. Received: start_step={start_step}.")
    if steps is None:
        return max(1, round(indices.num_samples / (indices.batch_size * num_shards)))
    if steps != math.inf and (steps < 1 or steps != int(steps)):
        raise ValueError(
            f"`steps` must be None, math.inf or an integer of at least 1. Received: steps={steps}. "
            "Leave it out for one pass over about as many samples as there are."
        )
    return steps


def _step_numbers(start_step, steps):
    """Return the data set of step numbers, int64 scalars, that goes on from pass to pass."""
    import tensorflow as tf

    if steps == math.inf:
        return tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
    steps = int(steps)
    passes = itertools.count()

    def first_of_pass(_):
        first = tf.numpy_function(lambda: np.int64(start_step + next(passes) * steps), [], tf.int64)
        return tf.data.Dataset.range(steps).map(lambda n: tf.ensure_shape(first, ()) + n)

    return tf.data.Dataset.from_tensors(0).flat_map(first_of_pass)


def _in_numpy(function, arguments, spec):
    """Run `function` of arrays inside tf.data; `spec` has dtype and shape of each result."""
    import tensorflow as tf

    results = tf.numpy_function(function, arguments, [part.dtype for part in spec])
    return [tf.ensure_shape(value, part.shape) for value, part in zip(results, spec, strict=True)]


def _stacked(numbers, inputs, labels, indices):
    """Return the data set of `(x, y)` where x is gathered from arrays in memory or on disk."""
    import tensorflow as tf

    parts = [*tree.flatten(inputs), labels]
    spec = [tf.TensorSpec((indices.batch_size, *p.shape[1:]), _tf_dtype(p)) for p in parts]

    def gather(rows):
        # NumPy does it: TensorFlow would hold a second copy of the data, if need be on the GPU.
        *values, y = _in_numpy(lambda rows: [part[rows] for part in parts], [rows], spec)
        return tree.pack_sequence_as(inputs, values), y

    def compute(chunk):
        shape = tf.TensorSpec((None, indices.batch_size), tf.int64)
        return _in_numpy(lambda steps: [indices(steps)], [chunk], [shape])[0]

    rows = numbers.batch(_STEPS_PER_CALL).map(compute).unbatch()
    return rows.map(gather, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _loaded(numbers, inputs, labels, load, indices, recover):
    """Return the data set of `(x, y)` where x is `load`ed one by one, in parallel."""
    import tensorflow as tf

    parts = [*tree.flatten(inputs), labels]
    size = indices.batch_size
    spec = [tf.TensorSpec((None, size, *p.shape[1:]), _tf_dtype(p)) for p in parts]
    spec += [tf.TensorSpec((None, size, 2), tf.int32), tf.TensorSpec((None, size), tf.int64)]
    spec += [tf.TensorSpec((None, size), tf.int64)]

    def draw(steps):
        rows = indices(steps)
        keys = np.broadcast_arrays(steps[:, None], np.arange(size))
        return [*(part[rows] for part in parts), indices.load_seeds(steps), *map(np.array, keys)]

    def compute(chunk):
        *values, y, seeds, step, row = _in_numpy(draw, [chunk], spec)
        return (tree.pack_sequence_as(inputs, values), y, seeds), (step, row)

    def load_one(element, label, seed):
        return (load(element, seed=seed) if takes_seed(load) else load(element)), label

    # A few batches a call: here the inputs themselves may be large.
    samples = numbers.batch(2).map(compute).prefetch(1).unbatch().unbatch()
    samples = map_or_recover(samples, load_one, recover)
    return samples.batch(size, drop_remainder=True)


def _tf_dtype(array):
    import tensorflow as tf

    return tf.string if array.dtype.kind in "OS" else tf.as_dtype(array.dtype)
