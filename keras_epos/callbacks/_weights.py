"""Weights of a model that a callback keeps and puts back."""

import keras
import numpy as np
from keras import ops


def floats(model):
    """Floating-point variables of the model, those of the losses of this library left out."""
    variables = getattr(model, "own_weights", model.weights)
    return [one for one in variables if keras.backend.is_float_dtype(one.dtype)]


def copies(variables):
    """Arrays of their own: what a backend hands out may be the memory that is trained."""
    return [np.array(ops.convert_to_numpy(one)) for one in variables]
