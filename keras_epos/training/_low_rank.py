"""Low-rank adapters: a pretrained backbone learns through small matrices beside its frozen kernels."""

import re
import string

import keras
from keras import ops

from keras_epos.training._attention import attention_projections
from keras_epos.training._frozen_layers import set_trainable
from keras_epos.training._pooling import GeneralizedMean


@keras.saving.register_keras_serializable(package="keras_epos")
class LowRankAdapter(keras.layers.Layer):
    """What is added to the output of a frozen dense layer: its input through two small kernels (Hu et al. 2021).

        x W + b + (x A) B

    `A` is drawn uniformly from +-1/sqrt(inputs), `B` is zero, so training starts from the pretrained model. Several
    axes, as of `keras.layers.MultiHeadAttention`, count as one: the sum over heads and their sizes has `rank` in all.

    Args:
        equation: What the dense layer computes, as of `keras.layers.EinsumDense`.
        kernel_shape: Shape of its kernel.
        rank: Size between the kernels.

    Call arguments:
        inputs: What the dense layer takes.

    Reference: Hu et al. 2021, https://arxiv.org/abs/2106.09685
    """

    def __init__(self, equation, kernel_shape, rank, **shared):
        super().__init__(**shared)
        self.equation = equation
        self.kernel_shape = tuple(kernel_shape)
        self.rank = rank
        inputs, kernel, outputs = re.split(",|->", equation.replace(" ", ""))
        inner = "".join(axis for axis in kernel if axis not in outputs)
        outer = "".join(axis for axis in kernel if axis not in inputs)
        between = "".join(axis for axis in inputs if axis not in inner)
        low = next(letter for letter in string.ascii_letters if letter not in equation)
        sizes = dict(zip(kernel, self.kernel_shape, strict=True))
        self._shapes = [sizes[axis] for axis in inner] + [rank], [rank] + [sizes[axis] for axis in outer]
        self._down = f"{inputs},{inner}{low}->{between}{low}"
        self._up = f"{between}{low},{low}{outer}->{outputs}"
        self._product = f"{inner}{low},{low}{outer}->{kernel}"

    def build(self, input_shape=None):
        down, up = self._shapes
        num_inputs = 1
        for size in down[:-1]:
            num_inputs *= size
        bound = num_inputs**-0.5
        initializer = keras.initializers.RandomUniform(-bound, bound)
        self.down = self.add_weight(name="down", shape=down, initializer=initializer)
        self.up = self.add_weight(name="up", shape=up, initializer="zeros")
        self.built = True

    def call(self, inputs):
        middle = ops.einsum(self._down, inputs, self.down)
        return ops.einsum(self._up, middle, self.up)

    def kernel(self):
        """What the adapter adds to the kernel of the layer, in its shape."""
        return ops.einsum(self._product, ops.convert_to_tensor(self.down), ops.convert_to_tensor(self.up))

    def get_config(self):
        shared = super().get_config()
        return {**shared, "equation": self.equation, "kernel_shape": self.kernel_shape, "rank": self.rank}


def adapt(backbone, rank):
    """Put adapters beside the projections of attention that make queries and values, and freeze everything else.

    Raises:
        ValueError: If there are none, or they are quantized or adapted already. Nothing is changed then.
    """
    if not backbone.built:
        raise ValueError("`backbone` must be built for `lora`. Call it once on a batch first.")
    refuse_adapted(backbone, and_by_keras=True)
    projections = attention_projections(backbone)
    if not projections:
        raise ValueError(
            f"`lora` must be None for a backbone without projections of attention named as in Keras or keras_hub, as "
            f"nothing of it would be trained. Received: lora={rank}, backbone {backbone.name!r}. Train all of it, or "
            "its last layers: `freeze=0.5`."
        )
    quantized = [layer.name for layer in projections if layer.quantization_mode is not None]
    if quantized:
        raise ValueError(
            f"`backbone` must not be quantized for `lora`. Received: the quantized layers {quantized[:3]}."
        )
    for number, layer in enumerate(projections):
        _attach(layer, rank, f"low_rank_{number}")  # on PyTorch Keras trains variables rightly if their paths differ
    freeze_base(backbone)


def refuse_adapted(backbone, and_by_keras=False):
    """Refuse a backbone whose layers have adapters of another model, or those that `enable_lora` of Keras made."""
    for layer in backbone._flatten_layers():
        if isinstance(layer, LowRankAdapter) or (and_by_keras and getattr(layer, "lora_enabled", False)):
            raise ValueError(
                f"`backbone` must be without adapters. Received: the backbone {backbone.name!r}, whose layers have "
                "some. Take `model.merged().backbone`, or leave `enable_lora` to `EmbeddingModel(backbone, lora=rank)`."
            )


def freeze_base(backbone):
    """Freeze the layers of an adapted backbone, but for the adapters and the exponents of `GeneralizedMean`."""
    for layer in backbone._flatten_layers():
        if isinstance(layer, (LowRankAdapter, GeneralizedMean)):
            continue
        for variable in layer._trainable_variables:
            variable.trainable = False
        # Of a layer that says it is frozen Keras lists no weights, those inside included.
        if not any(isinstance(one, LowRankAdapter) for one in layer._flatten_layers()):
            set_trainable(layer, False)


def merged_copy(model):
    """A copy of an `EmbeddingModel` without its adapters, whose products are added to the kernels; not compiled."""
    layers, config = model.own_layers(), model.get_config()
    frozen = [path for path in config["frozen_layers"] if not path.startswith("backbone")]
    copy = type(model).from_config({**config, "lora": None, "frozen_layers": frozen})
    copy.keep_frozen()
    of_adapters = {id(one) for layer in layers.values() if isinstance(layer, LowRankAdapter) for one in layer.weights}
    copy.set_weights([weight for weight in model.own_weights if id(weight) not in of_adapters])
    for path, layer in copy.own_layers().items():
        adapter = getattr(layers[path], "low_rank", None)
        if isinstance(adapter, LowRankAdapter):
            layer.kernel.assign_add(adapter.kernel())
    copy._called = model._called  # Keras exports no model that was not called
    return copy


def _attach(layer, rank, name):
    equation = getattr(layer, "equation", "...i,io->...o")
    policy = {"float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}.get(layer.compute_dtype, layer.compute_dtype)
    adapter = LowRankAdapter(equation, layer.kernel.shape, rank, dtype=policy, name=name)
    adapter.build()
    layer._tracker.unlock()
    layer.low_rank = adapter
    layer._tracker.lock()
    plain = layer.call

    # The layer stays what it is, at its place: whoever holds it, in whatever way, has it adapted.
    def call(inputs, *arguments, **named):
        return plain(inputs, *arguments, **named) + adapter(inputs)

    layer.call = call
