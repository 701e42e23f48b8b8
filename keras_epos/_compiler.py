"""What will run the code that is being traced: what is quick on one is slow on another."""

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
