"""Backbones: where they come from, and how their features become one vector."""

import contextlib
import difflib
import sys
import warnings
from pathlib import Path

import keras

from keras_epos.training._hub_backbone import (
    end_in_hub_backbone,
    hub_backbone,
    is_hub_backbone,
    is_preset,
    preset_names,
)


def load_backbone(backbone, pooling=None):
    """A Keras model from itself, a `.keras` file, a `keras.applications` name, or a keras_hub preset or backbone.

    Returns:
        The model, and how its features are still to be pooled: `None` if that was done with a backbone of keras_hub.

    Raises:
        ValueError: If it is none of these.
    """
    if is_hub_backbone(backbone):
        warnings.warn(
            f"The keras_hub backbone {backbone.name!r} is an object, so its preprocessing is not known: it must be "
            "given images as its ImageConverter leaves them, not 0..255. To have it inside the model pass the name of "
            "the preset, or keras_epos.training.hub_backbone(backbone, preprocessing=converter).",
            stacklevel=3,
        )
        return hub_backbone(backbone, pooling=pooling, preprocessing=None), None
    if isinstance(backbone, keras.Model):
        pooled = end_in_hub_backbone(backbone, pooling)
        return (backbone, pooling) if pooled is None else (pooled, None)
    if isinstance(backbone, str) and not hasattr(keras.applications, backbone) and is_preset(backbone):
        return hub_backbone(backbone, pooling=pooling), None
    return _of_keras(backbone, pooling), pooling


def _of_keras(backbone, pooling):
    if isinstance(backbone, keras.layers.Layer):
        raise ValueError(
            f"`backbone` must be a Keras model. Received: the layer {backbone.name!r}. Wrap it: "
            "keras.Sequential([keras.Input(shape), layer])."
        )
    if isinstance(backbone, (str, Path)) and str(backbone).endswith(".keras"):
        if not Path(backbone).is_file():
            raise ValueError(f"`backbone` must be the path of a file that exists. Received: backbone={str(backbone)!r}")
        return keras.saving.load_model(backbone, compile=False)
    application = getattr(keras.applications, backbone, None) if isinstance(backbone, str) else None
    if not callable(application):
        raise ValueError(
            "`backbone` must be a Keras model, the path of a .keras file, the name of a keras.applications model "
            'such as "EfficientNetV2B0" or, with `pip install keras-epos[hub]`, of a keras_hub preset such as '
            f'"dinov2_small". Received: backbone={backbone!r}.{_nearest(backbone)}'
        )
    inputs = keras.Input((None, None, 3), name="image")
    try:
        network = application(include_top=False, pooling=None if pooling else "avg")
    except Exception as error:
        if "URL fetch failure" not in str(error):
            raise
        raise ValueError(
            f"`backbone={backbone!r}` must download its ImageNet weights, which failed: {error}. Offline, pass a "
            f".keras file, or keras.applications.{backbone}(include_top=False, weights=None) for random weights."
        ) from error
    features = network(ApplicationPreprocessing(backbone)(inputs))
    return keras.Model(inputs, features, name=backbone.lower())


def _nearest(backbone):
    names = {name.lower(): name for name in dir(keras.applications) if name[0].isupper()}
    with contextlib.suppress(ImportError):
        names.update({name: name for name in preset_names()})
    near = difflib.get_close_matches(str(backbone).lower(), names, 1)
    return f" Did you mean {names[near[0]]!r}?" if near else ""


@keras.saving.register_keras_serializable(package="keras_epos")
class ApplicationPreprocessing(keras.layers.Layer):
    """The preprocessing that belongs to a `keras.applications` model, as a layer.

    Args:
        application: Name of the model in `keras.applications`.

    Call arguments:
        inputs: RGB images in 0..255, floats `(B, H, W, 3)`.
    """

    def __init__(self, application, **shared):
        super().__init__(**shared)
        self.application = application

    def call(self, inputs):
        module = sys.modules[getattr(keras.applications, self.application).__module__]
        return module.preprocess_input(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "application": self.application}


def warn_of_class_scores(backbone):
    """Warn of a backbone that ends in scores of its classes, of which little is left to learn embeddings from."""
    layer = backbone
    while isinstance(layer, keras.Model) and getattr(layer, "outputs", None):
        layer = layer.outputs[0]._keras_history.operation
    name = getattr(getattr(layer, "activation", None), "__name__", None)
    if isinstance(layer, keras.layers.Softmax) or name in ("softmax", "sigmoid"):
        warnings.warn(
            f"The backbone ends in scores of classes, its layer {layer.name!r}, which hold little of what tells unseen "
            "classes apart. Take the features before it: include_top=False for keras.applications, else "
            "keras.Model(model.inputs, model.layers[-2].output).",
            stacklevel=4,
        )


def set_dtype_policy(backbone, policy):
    """Let the layers of a float32 backbone compute under a mixed policy; other layers stay as they are.

    A backbone that was built or saved under float32 would otherwise not notice the policy of the model around it.
    """
    if not policy.name.startswith("mixed"):
        return
    for layer in backbone._flatten_layers():
        if layer.dtype_policy.name == "float32" and not isinstance(layer, keras.layers.InputLayer):
            layer.dtype_policy = policy
