"""A parallel map over a tf.data data set, with Python for the elements where its ops fail."""

import os


def map_or_recover(dataset, function, recover):
    """Map `function` in parallel and in order; where it fails at run time, call `recover` instead.

    An op that fails inside tf.data ends the iteration with a message that does not name the
    input, and nothing in a graph can catch it. Here each element gets a tiny data set of its own:
    the mapped element, errors ignored, followed by the recovered one, cut after the first. So the
    usual case stays in TensorFlow's threads, and only a failure enters Python. On top comes CPU time
    for each element: 0.2 ms where `function` has few ops, 0.8 ms for `load_image`.

    Args:
        dataset: elements `(arguments, key)`: a tuple for `function`, and a tuple of scalars for
            `recover`.
        function: TensorFlow ops; `function(*arguments)` gives a structure of tensors of fixed
            shapes.
        recover: Python; `recover(*key)` with the key as NumPy values gives the same structure, or
            raises.

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
