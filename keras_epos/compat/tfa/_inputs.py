"""What the losses accept: labels that may be floats if nothing is lost, and values of any float dtype."""

import keras
import numpy as np
from keras import ops

from keras_epos._keras_private import in_symbolic_scope
from keras_epos.losses._batch import labels_and_embeddings

# Whole numbers below these are exact, and so are their neighbors.
EXACT_BELOW = {"bfloat16": 2**8, "float16": 2**11, "float32": 2**24, "float64": 2**53}


def dtype_of(tensor):
    """Name of the dtype of a tensor or an array."""
    return keras.backend.standardize_dtype(tensor.dtype)


def precise(values):
    """A float32 tensor of the values, or float64 if that is what they are."""
    values = ops.convert_to_tensor(values)
    return values if dtype_of(values) == "float64" else ops.cast(values, "float32")


def returned(value, given):
    """`value` in half precision if that is what was given."""
    is_half = hasattr(given, "dtype") and dtype_of(given) in ("float16", "bfloat16")
    return ops.cast(value, given.dtype) if is_half else value


def labels_and_rows(y_true, y_pred):
    """Labels `(B,)` as exact integers and rows `(B, D)` in float32 or float64.

    Raises:
        ValueError: If the labels are not integers, or floats that may have merged some, or the shapes do not fit.
    """
    rows = precise(y_pred)
    return labels_and_embeddings(whole(y_true), rows, dtype_of(rows))


def alarmed(value, values):
    """A value for a batch, NaN if one of the `values` that it was made of is not finite, masked or not."""
    is_sound = ops.all(ops.isfinite(precise(values)))
    return ops.where(is_sound, value, ops.full_like(value, float("nan")))


def whole(labels):
    """The labels, as integers if they are floats that are surely the integers they once were."""
    labels = labels if hasattr(labels, "dtype") else np.asarray(labels)
    dtype = dtype_of(labels)
    if dtype == "bool":
        return ops.cast(labels, "int32")
    if dtype not in EXACT_BELOW or in_symbolic_scope():
        return labels
    values = known(labels)
    if values is None:
        raise ValueError(
            f"`y_true` must be integer class labels. Received: dtype {dtype} in a compiled function, where nobody can "
            "check that no two ids were merged. Keras turns the labels of a function into floats: compile the model "
            "with the class, such as TripletSemiHardLoss(), and give it integers."
        )
    limit = EXACT_BELOW[dtype]
    if not np.all((values == np.floor(values)) & (np.abs(values) < limit)):
        raise ValueError(
            f"`y_true` must be integer class labels, or {dtype} numbers that are whole and below {limit}, so that no "
            f"two ids can have been merged. Received: {values.ravel()[:8]}"
        )
    return values.astype("int64")


def known(tensor):
    """The values as a NumPy array, `None` while a function is traced."""
    try:
        values = ops.convert_to_numpy(tensor)
    except (NotImplementedError, TypeError):
        return None
    return values.astype("float64")


def square(similarity, num_labels):
    """`similarity`, if it can be a matrix of `num_labels` rows and columns.

    Raises:
        ValueError: If it cannot.
    """
    shape = tuple(similarity.shape)
    sides = {side for side in (*shape, num_labels) if side is not None}
    if len(shape) != 2 or len(sides) > 1:
        raise ValueError(
            "`y_pred` must be a matrix (batch, batch), the similarity of each anchor to each positive. "
            f"Received: shape {shape} with {num_labels} labels"
        )
    return similarity


def number(name, value):
    """`value` as a float.

    Raises:
        ValueError: If it is no finite number.
    """
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = float("nan")
    if not np.isfinite(found):
        raise ValueError(f"`{name}` must be a finite number. Received: {name}={value!r}")
    return found
