"""Batches as a `tf.data.Dataset`, for Keras on TensorFlow."""

import numpy as np
from keras import tree

from keras_epos.data._inputs import describe_error, read_rows, takes_seed
from keras_epos.data._recovery import Replacement, map_or_recover

# Batches computed by one call into NumPy: enough to share its overhead, and a wait of ~1 ms only.
_STEPS_PER_CALL = 16


def tf_batches(inputs, labels, indices, load, passes, replace):
    """The `tf.data.Dataset` of `(x, y)`.

    Args:
        inputs: Of `as_arrays`.
        labels: `(N,)`, or rows.
        indices: `BatchIndices`, or what has its methods.
        load: Function of TensorFlow ops, or `None`.
        passes: `Passes`.
        replace: Whether another sample takes the place of one that `load` fails on.
    """
    import tensorflow as tf

    if passes.num_shards > 1 and tf.distribute.has_strategy():
        raise ValueError(
            "`num_shards` must be 1 under a tf.distribute strategy, which shares out each batch itself. Received: "
            f"num_shards={passes.num_shards} in the scope of a {type(tf.distribute.get_strategy()).__name__}."
        )
    numbers = _step_numbers(passes).map(passes.global_step)
    if load is None:
        dataset = _stacked(numbers, inputs, labels, indices)
    else:
        recover = Replacement(inputs, labels, load, indices, replace)
        dataset = _loaded(numbers, inputs, labels, load, indices, recover)
    cardinality = tf.data.INFINITE_CARDINALITY if passes.endless else passes.steps
    options = without_tuning()
    # Keras makes an iterator after each epoch that it never reads; it must not count as a pass. Nor may one that is
    # made ahead of its epoch draw from what `indices` knew in the epoch before.
    options.experimental_warm_start = False
    if passes.num_shards > 1:
        # A strategy would share out the batches of this shard once more, and drop those of the others.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(cardinality))
    dataset = dataset.prefetch(tf.data.AUTOTUNE).with_options(options)
    dataset.start_epoch = passes.start_epoch
    return dataset


def without_tuning():
    """Options that leave the number of threads as it is.

    TensorFlow's thread that tunes it sleeps longer and longer, and the end of a pass waits until it wakes: an epoch of
    1.4 s took 2.5 s in most cases.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def _step_numbers(passes):
    """The data set of this shard's own step numbers, int64 scalars, that goes on from pass to pass."""
    import tensorflow as tf

    if passes.endless:
        return tf.data.Dataset.range(passes.first(0), np.iinfo(np.int64).max)

    def first_of_pass(_):
        first = tf.numpy_function(lambda: np.int64(passes.begin()), [], tf.int64)
        return tf.data.Dataset.range(passes.steps).map(lambda n: tf.ensure_shape(first, ()) + n)

    return tf.data.Dataset.from_tensors(0).flat_map(first_of_pass)


def _in_numpy(function, arguments, spec):
    """Run `function` of arrays inside tf.data; `spec` has dtype and shape of each result."""
    import tensorflow as tf

    results = tf.numpy_function(function, arguments, [part.dtype for part in spec])
    return [tf.ensure_shape(value, part.shape) for value, part in zip(results, spec, strict=True)]


def _stacked(numbers, inputs, labels, indices):
    """The data set of `(x, y)` where x is gathered from arrays in memory or on disk."""
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
    """The data set of `(x, y)` where x is `load`ed one by one, in parallel."""
    import tensorflow as tf

    parts = [*tree.flatten(inputs), labels]
    size = indices.batch_size
    spec = [tf.TensorSpec((None, size, *p.shape[1:]), _tf_dtype(p)) for p in parts]
    spec += [tf.TensorSpec((None, size, 2), tf.int32), tf.TensorSpec((None, size), tf.int64)]
    spec += [tf.TensorSpec((None, size), tf.int64)]

    def draw(steps):
        rows = indices(steps)
        keys = np.broadcast_arrays(steps[:, None], np.arange(size))
        return [*(read_rows(part, rows) for part in parts), indices.load_seeds(steps), *map(np.array, keys)]

    def compute(chunk):
        *values, y, seeds, step, row = _in_numpy(draw, [chunk], spec)
        return (tree.pack_sequence_as(inputs, values), y, seeds), (step, row)

    def load_one(element, label, seed):
        return (load(element, seed=seed) if takes_seed(load) else load(element)), label

    # A few batches a call: here the inputs themselves may be large.
    batches = numbers.batch(2).map(compute).prefetch(1).unbatch()
    try:
        return map_or_recover(batches, load_one, recover)
    except Exception as error:  # the user's code may raise anything, inside pages of AutoGraph
        what = tree.map_structure(lambda part: f"{part.dtype} {part.shape}", inputs)
        raise ValueError(
            "`load` must be a function of TensorFlow ops that takes one input and gives one example. Received: inputs "
            f"of {what}, on which it fails: {describe_error(error)}."
        ) from error


def _tf_dtype(array):
    import tensorflow as tf

    return tf.string if array.dtype.kind in "OS" else tf.as_dtype(array.dtype)
