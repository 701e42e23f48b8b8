"""The first layers of a backbone, which need little training."""

from keras_epos._checks import number


def freeze_first_layers(backbone, share):
    """Keep the first layers of a pretrained backbone as they are: edges and textures are the same for most images.

    The others train, which is quicker and forgets less.

    Args:
        backbone: A Keras model, perhaps of models. Layers count in the order in which they were added.
        share: Of its layers, in [0, 1].

    Raises:
        ValueError: For a share out of range.

    Examples:
        >>> keras_epos.training.freeze_first_layers(backbone, 0.5)
        >>> [layer.trainable for layer in backbone.layers][0]
        False
    """
    number("share", share, "[0, 1]", "a share of the layers")
    layers = _innermost(backbone)
    for layer in layers[: round(share * len(layers))]:
        layer.trainable = False


def _innermost(layer):
    inside = getattr(layer, "layers", None)
    return [leaf for part in inside for leaf in _innermost(part)] if inside else [layer]
