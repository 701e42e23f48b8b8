"""What users pass as inputs: paths or arrays, and the functions that load them."""

import inspect
import os

import numpy as np

_PATH = (str, bytes, os.PathLike)


def as_arrays(inputs, num_samples):
    """Return `inputs` as arrays of N entries on the first axis, or raise `ValueError`.

    Args:
        inputs: paths, an array or what becomes one, or a tuple or dict of such arrays.
        num_samples: N.

    Returns:
        An array, or a tuple or dict of arrays. Paths become bytes objects, as TensorFlow has them.
    """
    if isinstance(inputs, dict):
        return {name: _as_array(part, num_samples) for name, part in inputs.items()}
    if isinstance(inputs, tuple) and inputs and not isinstance(inputs[0], _PATH):
        return tuple(_as_array(part, num_samples) for part in inputs)
    return _as_array(inputs, num_samples)


def _as_array(part, num_samples):
    array = part if isinstance(part, np.ndarray) else None
    if array is None and isinstance(part, (list, tuple)) and part and isinstance(part[0], _PATH):
        array = np.array([os.fsencode(path) for path in part], dtype=object)
    elif array is None:
        array = np.asarray(part)
    if array.dtype.kind == "U":
        array = np.array([os.fsencode(path) for path in array.tolist()], dtype=object)
    if array.ndim == 0 or len(array) != num_samples:
        raise ValueError(
            "`inputs` must have one entry for each label. "
            f"Received: inputs of shape {array.shape}, {num_samples} labels."
        )
    return array


def takes_seed(load):
    """Return whether the callable `load` has a parameter named `seed`."""
    try:
        return "seed" in inspect.signature(load).parameters
    except (TypeError, ValueError):  # a callable written in C
        return False


def is_encoded(element):
    """Return whether these bytes are an image and not its path, which has no zero byte as the head of an image has."""
    return b"\0" in element[:32] or element[:2] == b"\xff\xd8" or element[:4] == b"\x89PNG"


def describe_input(element, index):
    """Return what to call an input in a message: its path in quotes, else its number."""
    if isinstance(element, str) or (isinstance(element, bytes) and not is_encoded(element)):
        return repr(os.fsdecode(element))
    return f"input number {index}"
