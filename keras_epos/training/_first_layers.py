"""The first layers of a backbone, which need little training."""

from keras_epos._checks import number
from keras_epos.training._frozen_layers import set_trainable
from keras_epos.training._low_rank import LowRankAdapter


def freeze_first_layers(backbone, share):
    """Keep the first layers of a pretrained backbone as they are: edges and textures are the same for most images.

    The others train, which is quicker and forgets less. `EmbeddingModel(backbone, freeze=share)` does the same and
    keeps it so.

    Args:
        backbone: A Keras model, perhaps of models. Layers count in the order in which they were added, those inside a
            layer (the blocks of a transformer) each by itself.
        share: Of its layers, in [0, 1]. The adapters of `lora` count with the layer that they stand beside.

    Raises:
        ValueError: For a share out of range.

    Examples:
        >>> keras_epos.training.freeze_first_layers(backbone, 0.5)
        >>> [layer.trainable for layer in backbone.layers][0]
        False
    """
    number("share", share, "[0, 1]", "a share of the layers")
    layers = layers_in_order(backbone)
    for layer in layers[: round(share * len(layers))]:
        for one in (layer, *_adapters(layer)):
            set_trainable(one, False)


def layers_in_order(layer):
    """The innermost layers, and before these an outer one that has weights of its own, in the order they were added."""
    adapters = _adapters(layer)
    inside = [one for one in getattr(layer, "layers", None) or layer._layers if one not in adapters]
    own = layer._trainable_variables + layer._non_trainable_variables
    itself = [layer] if own or not inside else []
    return itself + [one for part in inside for one in layers_in_order(part)]


def _adapters(layer):
    return [one for one in layer._layers if isinstance(one, LowRankAdapter)]
