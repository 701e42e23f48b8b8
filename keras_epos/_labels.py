"""Labels that a backend would change."""

import keras
import numpy as np
from keras import ops


def refuse_cut_labels(labels, name="y_true"):
    """Refuse arrays of labels of which the backend would keep the low bits alone, so that classes would merge.

    JAX has 32 bits for an integer unless it was told otherwise, PyTorch no `uint64`. What is a tensor already, or no
    array of integers, is not looked at.

    Args:
        labels: Integers of any shape: a NumPy array, whatever NumPy makes one of, or a tensor.
        name: Of the argument, for the message.

    Raises:
        ValueError: If a label is out of the range that the backend holds.
    """
    if ops.is_tensor(labels):
        return
    values = np.asarray(labels)
    if values.dtype.kind not in "iu" or not values.size:
        return
    held = np.iinfo(held_integer(values.dtype))
    lowest, highest = int(values.min()), int(values.max())
    if held.min <= lowest and highest <= held.max:
        return
    raise ValueError(
        f"`{name}` must be class labels from {held.min} to {held.max}, which is what {keras.backend.backend()} holds "
        f"here. Received: label {lowest if lowest < held.min else highest}, which would merge with another. Renumber "
        "the classes by numpy.unique(labels, return_inverse=True)[1]"
        + (", or call jax.config.update('jax_enable_x64', True) first." if held.bits == 32 else ".")
    )


def held_integer(dtype):
    """Name of the dtype in which the backend holds integers of a NumPy dtype."""
    if keras.backend.backend() == "torch":
        return "int64"
    if keras.backend.backend() == "jax":
        import jax

        return jax.dtypes.canonicalize_dtype(dtype).name
    return dtype.name
