"""Which layers are trained: what `layer.trainable` says of each, as part of a model's configuration."""


def layers_by_path(layer, path):
    """The layer and all layers inside it by their path of places, outer ones first.

    Keras counts the names of layers that were given none from one process to the next, so paths hold no names.
    """
    found = {path: layer}
    for place, inner in enumerate(layer._layers):
        found.update(layers_by_path(inner, f"{path}/{place}"))
    return found


def frozen_layers(layers):
    """Paths of the layers that are not trained, of a dictionary of path to layer."""
    return [path for path, layer in layers.items() if not layer.trainable]


def freeze_layers(layers, frozen):
    """Set which layers are trained.

    Raises:
        ValueError: If `frozen` names layers that are not there.
    """
    unknown = sorted(set(frozen) - set(layers))
    if unknown:
        raise ValueError(
            f"`frozen_layers` must name layers of the model. Received: {unknown[:3]}, which it has not, as in a file "
            "of another version. Build the model anew and load its weights."
        )
    for path, layer in layers.items():
        if layer.trainable != (path not in frozen):
            set_trainable(layer, path not in frozen)


def set_trainable(layer, value):
    """Set whether a layer itself is trained: Keras's setter would reach the layers inside as well."""
    layer._trainable = value
    for variable in layer._trainable_variables:
        variable.trainable = value
