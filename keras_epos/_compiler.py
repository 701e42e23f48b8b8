"""What will run the code that is being traced, as what is quick on one is slow on another; and XLA for a part of it."""

import functools

import keras


def is_on_cpu(tensor):
    """Whether a computation with `tensor` runs on a CPU; where there is an accelerator it is taken to run there."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return all(device.device_type == "CPU" for device in tf.config.list_logical_devices())
    if backend == "jax":
        import jax

        return jax.default_backend() == "cpu"
    return tensor.device.type == "cpu"


def is_by_xla():
    """Whether it is compiled by XLA, as it always is by JAX."""
    if keras.backend.backend() != "tensorflow":
        return keras.backend.backend() == "jax"
    import tensorflow as tf

    # TensorFlow has no public name for what `jit_compile=True` sets.
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

    return not tf.executing_eagerly() and GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


# Rows from which on it pays to compile.
MANY = 512


def pays_by_xla(rows):
    """Whether work on `rows` belongs to a TensorFlow graph that is not compiled, and is quicker if it is."""
    # Each number of rows would be compiled anew, so it must be known.
    if keras.backend.backend() != "tensorflow" or None in rows.shape or rows.shape[0] < MANY:
        return False
    import tensorflow as tf

    # On an accelerator Keras compiles the whole step.
    in_graph = not tf.executing_eagerly() and not is_by_xla()
    return in_graph and is_on_cpu(rows) and _has_xla()


@functools.cache
def _has_xla():
    """Whether TensorFlow compiles for this CPU, which it does not on every platform."""
    import tensorflow as tf

    try:
        with tf.init_scope():
            tf.function(tf.negative, jit_compile=True)(tf.constant(1.0))
    except tf.errors.OpError:
        return False
    return True


def by_xla(function, *tensors):
    """What `function` makes of tensors, compiled by XLA alone in a TensorFlow graph. Carries no gradient."""
    import tensorflow as tf

    made = []

    @tf.function(jit_compile=True, autograph=False)
    def compiled(*tensors):
        made.append(function(*tensors))
        return [part for part in tf.nest.flatten(made[-1]) if tf.is_tensor(part)]

    parts = iter(compiled(*map(tf.stop_gradient, tensors)))
    return tf.nest.map_structure(lambda part: next(parts) if tf.is_tensor(part) else part, made[-1])
