"""What was trained with `lora`, without the backbone: a megabyte or so."""

import hashlib
import json
import os
import secrets
from pathlib import Path

import keras
import numpy as np

from keras_epos.training._low_rank import LowRankAdapter
from keras_epos.training._pooling import GeneralizedMean

FORMAT = "keras_epos adapters 1"


def save_adapters(model, path):
    """Write the adapters and the dense layer of an `EmbeddingModel` with `lora`, and what tells its backbone.

    Args:
        model: An `EmbeddingModel` with `lora`, on any backend.
        path: File, usually `.npz`: NumPy arrays, which hold no code. It appears whole or not at all.

    Raises:
        ValueError: If the model has no adapters.

    Examples:
        >>> tokens = keras.Input((4, 8))
        >>> transformer = keras.Model(tokens, keras.layers.MultiHeadAttention(2, 4)(tokens, tokens))
        >>> model = keras_epos.EmbeddingModel(transformer, 3, lora=2)
        >>> keras_epos.training.save_adapters(model, "adapters.npz")
        >>> keras_epos.training.load_adapters(model, "adapters.npz")
    """
    arrays = {name: _array(weight) for name, weight in _trained(model).items()}
    path = Path(path)
    unfinished = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with open(unfinished, "wb") as file:
            np.savez(file, about=np.frombuffer(json.dumps(_about(model)).encode(), "uint8"), **arrays)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_adapters(model, path):
    """Read what `save_adapters` wrote into a model with the same `lora` and the same backbone.

    Args:
        model: An `EmbeddingModel` whose backbone has the weights, to the last bit, beside which the adapters were
            trained; the backend may be another.
        path: The file.

    Raises:
        ValueError: If the file holds no adapters, or those of another backbone, rank or number of dimensions. The model
            is then as it was.
    """
    trained = _trained(model)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(bytes(arrays.pop("about")))
        is_of_format = about["format"] == FORMAT
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"`path` must be a file of `save_adapters`. Received: {str(path)!r}.") from error
    if not is_of_format:
        raise ValueError(f"`path` must be a file of {FORMAT!r}. Received: {str(path)!r}, of {about['format']!r}.")
    own = _about(model)
    for name, what in (
        ("lora", "`lora`"),
        ("embedding_dim", "`embedding_dim`"),
        ("backbone", "a backbone of the weights"),
    ):
        if about[name] != own[name]:
            raise ValueError(
                f"`model` must have {what} {about[name]}, as that of the file. Received: {own[name]}. Adapters belong "
                "to the backbone that they were trained beside."
            )
    shapes = {name: tuple(weight.shape) for name, weight in trained.items()}
    if shapes != {name: array.shape for name, array in arrays.items()}:
        raise ValueError(
            f"`model` must have the weights of the file. Received: a model with {_first_difference(shapes, arrays)}."
        )
    for name, weight in trained.items():
        weight.assign(arrays[name])


def _trained(model):
    """Variables of the adapters and of all that stands after the pretrained backbone, statistics too, by path."""
    if getattr(model, "lora", None) is None:
        raise ValueError(f"`model` must be an `EmbeddingModel` with `lora`. Received: model={model}.")
    found = {}
    for path, layer in model.own_layers().items():
        follows = layer is not model and not path.startswith("backbone")
        if follows or isinstance(layer, (LowRankAdapter, GeneralizedMean)):
            found.update({f"{path}/{place}": weight for place, weight in enumerate(layer.weights)})
    return found


def _about(model):
    trained = {id(weight) for weight in _trained(model).values()}
    digest = hashlib.sha256()
    for weight in model.backbone.weights:
        if id(weight) not in trained:
            array = _array(weight)
            digest.update(f"{array.shape} {array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return {
        "format": FORMAT,
        "lora": model.lora,
        "embedding_dim": model.embedding_dim,
        "backbone": digest.hexdigest()[:16],
    }


def _array(weight):
    return np.asarray(keras.ops.convert_to_numpy(weight))


def _first_difference(shapes, arrays):
    for name in [*shapes, *arrays]:
        found = shapes.get(name), getattr(arrays.get(name), "shape", None)
        if found[0] != found[1]:
            return f"{name} of shape {found[0]} where the file has {found[1]}"
    return "none"
