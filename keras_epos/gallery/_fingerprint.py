"""What tells one model from another: a hash of its configuration and weights."""

import hashlib
import json

import keras
import numpy as np
from keras import ops

# What may change while the embeddings stay.
_PASSED_OVER = {"build_config", "compile_config", "trainable"}


def fingerprint_of(model):
    """SHA-256 of the configuration and the weights of a `keras.Model`, 64 hexadecimal digits."""
    found = hashlib.sha256(json.dumps(_config(model), sort_keys=True, default=repr).encode())
    for weight in model.weights:
        values = ops.convert_to_numpy(weight)
        found.update(f"{values.dtype.name} {values.shape}".encode())
        found.update(np.ascontiguousarray(values).view(np.uint8) if values.size else b"")
    return found.hexdigest()


def _config(model):
    try:
        config = keras.saving.serialize_keras_object(model)["config"]
    except (NotImplementedError, TypeError, ValueError):
        # A model that cannot be saved by its configuration is known by its class and its weights.
        config = None
    return [type(model).__name__, _kept(config, _names(config, {}))]


def _names(config, found):
    """`{name of a layer: its number}`: Keras counts names up, so those of two runs may differ."""
    if isinstance(config, dict):
        if isinstance(config.get("name"), str):
            found.setdefault(config["name"], len(found))
        config = list(config.values())
    for value in config if isinstance(config, (list, tuple)) else ():
        _names(value, found)
    return found


def _kept(config, names):
    if isinstance(config, dict):
        return {str(name): _kept(value, names) for name, value in config.items() if name not in _PASSED_OVER}
    if isinstance(config, str):
        return names.get(config, config)
    return [_kept(value, names) for value in config] if isinstance(config, (list, tuple)) else config
