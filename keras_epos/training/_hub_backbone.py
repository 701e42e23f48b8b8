"""Backbones of keras_hub: preprocessing, vision tower and the feature that stands for the image, as one model."""

import os
from pathlib import Path

import keras

from keras_epos.training._pooling import POOLINGS, GeneralizedMean, pool_tokens

# Tokens before the patches, by class. Backbones that are in none of these tables return maps.
TOKENS_BEFORE_PATCHES = {
    "ViTBackbone": lambda tower: int(tower.use_class_token),
    "DeiTBackbone": lambda tower: 2,  # class and distillation
    "DINOV2Backbone": lambda tower: 1 + tower.num_register_tokens,
    "DINOV3Backbone": lambda tower: 1 + tower.num_register_tokens,
    "CLIPVisionEncoder": lambda tower: 1,
    "MetaCLIP2VisionEncoder": lambda tower: 1,
    "SigLIPVisionEncoder": lambda tower: 0,
    "SwinTransformerBackbone": lambda tower: 0,
}
NOT_GIVEN = object()


def hub_backbone(backbone, image_size=None, *, pooling=None, preprocessing=NOT_GIVEN):
    """A backbone of keras_hub as a Keras model from images to one feature vector.

    The text tower of a dual encoder (CLIP, SigLIP) is left out. The tokens of vision transformers are told apart:
    register tokens are never pooled, and a class token only if it is asked for.

    Args:
        backbone: Name of a preset, such as `"dinov2_small"`, `"siglip2_base_patch16_224"` or `"hf://..."`; the folder
            of a saved preset; or a `keras_hub.models.Backbone`.
        image_size: Side of the images in pixels, where the preset takes another than its own (DINOv2 and DINOv3 do).
        pooling: `None` for the feature that the family itself takes: the class token (ViT, DeiT, DINOv2, DINOv3), the
            projected class token (CLIP, MetaCLIP 2), the attention head (SigLIP), the mean (Swin, convolutions). Or
            `"class"`, `"mean"` (of the patches), `"class_and_mean"`, or `"gem"` (see `GeneralizedMean`).
        preprocessing: What stands between images in 0..255 and the backbone: a `keras_hub.layers.ImageConverter`, of
            which scale and offset are taken, any layer, or `None` for images that are preprocessed before. A preset
            brings its own; for an object it must be given.

    Returns:
        A functional `keras.Model` from `(B, H, W, 3)`, RGB in 0..255, to features `(B, F)`.

    Raises:
        ValueError: If there is no such preset or it cannot be loaded, the backbone has no image feature, or an
            argument does not suit it.
        ImportError: If keras_hub is not installed.
    """
    if not isinstance(backbone, keras.Model):
        name = str(backbone)
        network, converter = _from_preset(name, image_size)
        preprocessing = converter if preprocessing is NOT_GIVEN else preprocessing
    else:
        name, network = backbone.name, backbone
        if image_size is not None:
            raise ValueError("`image_size` must be None for a backbone that is an object already, which has its own.")
        if preprocessing is NOT_GIVEN:
            raise ValueError(
                "`preprocessing` must be given with a keras_hub backbone that is an object: its ImageConverter, such "
                "as keras_hub.layers.ImageConverter.from_preset(name), or None for images that are preprocessed before."
            )
    tower = _vision_tower(network)
    image = keras.Input(_image_shape(tower), name="image")
    layer = _as_layer(preprocessing)
    features = _features(network, tower, image if layer is None else layer(image), pooling)
    return keras.Model(image, features, name=os.path.basename(name).replace(":", "_") or "backbone")


def is_hub_backbone(model):
    """Whether a model is a `keras_hub.models.Backbone`; keras_hub is not imported for it."""
    return any(cls.__module__ == "keras_hub.src.models.backbone" for cls in type(model).__mro__)


def is_preset(name):
    """Whether a string names a preset of keras_hub, as far as can be told without the network."""
    if "://" in name or (Path(name) / "config.json").is_file():
        return True
    try:
        return name in preset_names()
    except ImportError:
        return False


def preset_names():
    """Names of the presets of all image backbones; `ImportError` without keras_hub."""
    hub = imported_hub()
    found = []
    for name, preset in hub.models.Backbone.presets.items():
        if "image" in str(preset.get("metadata", {})).lower() or _is_image_preset(name):
            found.append(name)
    return found


def _is_image_preset(name):
    starts = ("vit_", "deit_", "dinov", "clip_", "metaclip", "siglip", "medsiglip", "swin_", "resnet", "efficientnet")
    return name.startswith((*starts, "mobilenet", "densenet", "vgg", "xception", "csp_", "hgnet", "mit_", "sam_"))


def imported_hub():
    """`keras_hub`.

    Raises:
        ImportError: If it is not installed: one sentence that says how to get it.
    """
    try:
        import keras_hub
    except ImportError as error:
        raise ImportError(
            f"Backbones of keras_hub need the package: `pip install keras-epos[hub]`. The import failed with: {error}"
        ) from error
    return keras_hub


def end_in_hub_backbone(model, pooling):
    """A model that ends in the tokens of a keras_hub backbone, with these pooled; or `None` for any other model."""
    outputs = getattr(model, "outputs", None)
    if not outputs or len(outputs) != 1:
        return None
    last = outputs[0]._keras_history.operation
    number = TOKENS_BEFORE_PATCHES.get(type(last).__name__) if is_hub_backbone(last) else None
    if number is None or len(outputs[0].shape) != 3:
        return None
    return keras.Model(model.inputs[0], pool_tokens(outputs[0], pooling, number(last)), name=model.name)


def _from_preset(name, image_size):
    hub = imported_hub()
    shape = {} if image_size is None else {"image_shape": (image_size, image_size, 3)}
    try:
        network = hub.models.Backbone.from_preset(name, **shape)
        return network, hub.layers.ImageConverter.from_preset(name)
    except Exception as error:
        raise ValueError(
            f"`backbone` must be a preset of keras_hub that can be loaded, {name!r} was not: "
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''} Presets are downloaded; "
            "offline pass the folder of a saved one (`save_to_preset`)."
        ) from error


def _vision_tower(network):
    for part in ("vision_encoder", "image_encoder"):
        tower = getattr(network, part, None)
        if isinstance(tower, keras.Model):
            return _vision_tower(tower)
    inputs = keras.tree.flatten(network.input)
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        raise ValueError(
            f"`backbone` must take images (B, H, W, 3). Received: a {type(network).__name__}, which takes "
            f"{[tuple(one.shape) for one in inputs]}."
        )
    return network


def _image_shape(tower):
    return tuple(keras.tree.flatten(tower.input)[0].shape[1:])


def _as_layer(preprocessing):
    """Of an ImageConverter the values: its resizing belongs to reading the images, and it runs outside of graphs."""
    if preprocessing is None or not hasattr(preprocessing, "crop_to_aspect_ratio"):
        return preprocessing
    scale, offset = preprocessing.scale, preprocessing.offset
    return keras.layers.Rescaling(1.0 if scale is None else scale, 0.0 if offset is None else offset, name="rescaling")


def _features(network, tower, images, pooling):
    if pooling is None and hasattr(network, "get_vision_embeddings"):
        return network.get_vision_embeddings(images)
    if type(tower).__name__ == "SigLIPVisionEncoder":
        if pooling is None:
            return _called(tower, images)
        before = keras.Model(tower.inputs, tower.post_layer_norm.output, name="tokens_of_tower")
        return pool_tokens(before([images]), pooling, 0)
    found = _called(tower, images)
    if isinstance(found, dict):  # stages, the last one last
        found = found[list(found)[-1]]
    number = TOKENS_BEFORE_PATCHES.get(type(tower).__name__)
    if number is not None:
        return pool_tokens(found, pooling, number(tower))
    if not hasattr(found, "shape") or len(found.shape) != 4 or pooling not in (None, *POOLINGS):
        raise ValueError(
            f"`pooling` must be None or one of {list(POOLINGS)} for a {type(tower).__name__}, which must return maps. "
            f"Received: pooling={pooling!r} and output shape {keras.tree.map_structure(lambda one: one.shape, found)}."
        )
    pool = GeneralizedMean(name="gem") if pooling == "gem" else keras.layers.GlobalAveragePooling2D(name="mean")
    return pool(found)


def _called(tower, images):
    return tower(dict.fromkeys(tower.input, images) if isinstance(tower.input, dict) else images)
