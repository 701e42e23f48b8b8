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


def compiled_if_quicker(function, *tensors):
    """What `function` makes of tensors, compiled by XLA by itself in a large TensorFlow graph that is not compiled.

    Carries no gradient. The first axis of the first tensor tells how large the work is.
    """
    return _by_xla(function, tensors) if _is_quicker(tensors) else function(*tensors)


def _is_quicker(tensors):
    # Each number of rows would be compiled anew, so it must be known.
    if keras.backend.backend() != "tensorflow" or any(None in tensor.shape for tensor in tensors):
        return False
    import tensorflow as tf

    # On an accelerator Keras compiles the whole step.
    in_graph = not tf.executing_eagerly() and not is_by_xla()
    return in_graph and tensors[0].shape[0] >= MANY and is_on_cpu(tensors[0]) and _has_xla()


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


def _by_xla(function, tensors):
    import tensorflow as tf

    made = []

    @tf.function(jit_compile=True, autograph=False)
    def compiled(*tensors):
        made.append(function(*tensors))
        return [part for part in tf.nest.flatten(made[-1]) if tf.is_tensor(part)]

    parts = iter(compiled(*map(tf.stop_gradient, tensors)))
    return tf.nest.map_structure(lambda part: next(parts) if tf.is_tensor(part) else part, made[-1])
