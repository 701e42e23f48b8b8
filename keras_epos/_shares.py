"""Batches of which every device of JAX gets as many samples as the others."""

import keras
import numpy as np


def num_devices():
    """How many devices of this process share a batch under `keras.distribution`."""
    distribution = keras.distribution.distribution() if keras.backend.backend() == "jax" else None
    if distribution is None:
        return 1
    import jax

    mesh = distribution.device_mesh
    shape = dict(zip(mesh.axis_names, mesh.shape, strict=True))
    return max(1, shape.get(distribution.batch_dim_name, 1) // jax.process_count())


def predict_in_shares(predict, x, batch_size=None, **arguments):
    """What `predict` makes of arrays `(N, ...)`, which need not divide by the devices.

    JAX refuses such a batch, and Keras has taken the weights out of the model by then. So the last row stands there
    as often as is missing, and what comes of it is cut off.

    Args:
        predict: `predict` of a model.
        x: An array, or a structure of arrays of one length.
        batch_size: As in `keras.Model.predict`; here the next multiple of the devices.
        arguments: Of `predict`, by name.
    """
    devices = num_devices()
    rows = len(keras.tree.flatten(x)[0])
    if devices == 1 or rows == 0:
        return predict(x, batch_size=batch_size, **arguments)

    def filled(part):
        last = [part[-1:]] * (-rows % devices)
        return (np if isinstance(part, np.ndarray) else keras.ops).concatenate([part, *last])

    batch_size = -(-(batch_size or 32) // devices) * devices
    outputs = predict(keras.tree.map_structure(filled, x), batch_size=batch_size, **arguments)
    return keras.tree.map_structure(lambda part: part[:rows], outputs)
