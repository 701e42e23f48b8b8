"""How deep the layers of a backbone lie, counted from its head: by blocks of a transformer, by stages of a CNN."""

import keras

from keras_epos.training._attention import attention_projections


class DepthGroup:
    """The layers of one depth.

    Attributes:
        depth: 1 for the last block or stage, one more for each before it.
        layers: Its layers, inner and outer ones, each for its own weights alone.
    """

    def __init__(self, depth, layers):
        self.depth = depth
        self.layers = layers

    @property
    def variables(self):
        return [one for layer in self.layers for one in layer._trainable_variables + layer._non_trainable_variables]


def depth_groups(backbone):
    """The layers of a backbone that have weights, by depth, the last first.

    Along every path from input to output the depth changes before a layer with attention inside (a block; if several
    such layers are inside one, each of these), and before a layer with a stride above 1 inside (a stage). So the layers
    of a CNN that see maps of one size have one depth, and the embedding of patches is deepest in a transformer. What
    follows the last block, as its normalization, counts with it.
    """
    levels = {}
    _place(backbone, 0, levels, {id(one) for one in attention_projections(backbone)})
    by_level = {}
    for layer, level in levels.values():
        if layer._trainable_variables or layer._non_trainable_variables:
            by_level.setdefault(level, []).append(layer)
    return [DepthGroup(1 + place, by_level[level]) for place, level in enumerate(sorted(by_level, reverse=True))]


def _place(layer, level, levels, projections):
    """Note the level of a layer and all inside it; returns the level of what comes after it."""
    if not isinstance(layer, keras.layers.Layer):
        return level
    if id(layer) in levels and not isinstance(layer, keras.layers.InputLayer):  # used twice: at its first place
        return max(level, levels[id(layer)][1])
    levels[id(layer)] = layer, level
    if getattr(layer, "_nodes_by_depth", None):
        return _along_graph(layer, level, levels, projections)
    inside = [one for one in getattr(layer, "layers", None) or layer._layers if isinstance(one, keras.layers.Layer)]
    if isinstance(layer, keras.Model) or sum(_has_attention(one, projections) for one in inside) > 1:
        for one in inside:
            level = _place(one, level, levels, projections)
        return level
    everything = layer._flatten_layers()
    level += any(_is_strided(one) or id(one) in projections for one in everything)
    levels.update({id(one): (one, level) for one in everything})
    return level


def _along_graph(model, level, levels, projections):
    after = {}
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            before = max((after.get(id(one), level) for one in node.input_tensors), default=level)
            reached = _place(node.operation, before, levels, projections)
            after.update({id(one): reached for one in node.outputs})
    return max(after[id(one)] for one in model.outputs)


def _has_attention(layer, projections):
    """Whether a layer is made of layers, projections of attention among them."""
    return id(layer) not in projections and any(id(one) in projections for one in layer._flatten_layers())


def _is_strided(layer):
    strides = getattr(layer, "strides", 1)
    return max(strides if isinstance(strides, (tuple, list)) else [strides or 1]) > 1
