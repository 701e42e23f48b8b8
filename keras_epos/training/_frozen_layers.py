"""Which layers are trained: what `layer.trainable` says of each, as part of a model's configuration."""


def layers_by_path(layer, path):
    """The layer and all layers inside it by their path of names, outer ones first."""
    found = {path: layer}
    for inner in layer._layers:
        found.update(layers_by_path(inner, f"{path}/{inner.name}"))
    return found


def frozen_layers(layers):
    """Paths of the layers that are not trained, of a dictionary of path to layer."""
    return [path for path, layer in layers.items() if not layer.trainable]


def freeze_layers(layers, frozen):
    """Set which layers are trained, each by itself: Keras's setter would reach the layers inside as well."""
    for path, layer in layers.items():
        if layer.trainable != (path not in frozen):
            layer._trainable = path not in frozen
            for variable in layer._trainable_variables:
                variable.trainable = layer._trainable
