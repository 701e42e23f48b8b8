"""The projections of attention in a backbone, whatever its library calls them."""

import keras

# Names of layers, or of the attributes that hold them: Keras and keras_hub, DINOv3, MiT, Gemma. Some layers compute
# queries, keys and values by one kernel: Swin, ViTDet.
QUERIES = ("query", "query_dense", "query_proj", "q", "q_proj")
VALUES = ("value", "value_dense", "value_proj", "v", "v_proj")
FUSED = ("qkv", "attention_qkv")
DENSE = (keras.layers.Dense, keras.layers.EinsumDense)


def attention_projections(layer):
    """The dense layers inside that make queries and values, each once."""
    found = {}
    for one in layer._flatten_layers():
        for name, part in {one.name: one, **_attributes(one)}.items():
            is_linear = isinstance(part, DENSE) and part.activation is keras.activations.linear
            if is_linear and name in (*QUERIES, *VALUES, *FUSED):
                found[id(part)] = part
    return [one for one in layer._flatten_layers() if id(one) in found]


def _attributes(layer):
    return {**vars(layer), **vars(layer).get("_modules", {})}  # PyTorch keeps layers apart from other attributes
