"""From features at many places to one vector: means, generalized means, tokens."""

import keras
from keras import ops

from keras_epos._checks import number, one_of

POOLINGS = ("mean", "gem")
TOKEN_POOLINGS = ("class", "mean", "class_and_mean", "gem")


@keras.saving.register_keras_serializable(package="keras_epos")
class GeneralizedMean(keras.layers.Layer):
    """GeM: the generalized mean over positions, with an exponent that is trained.

        (mean of max(x, epsilon)^p)^(1/p)

    `p = 1` is the mean, and a large `p` nears the maximum (Radenovic et al. 2019, https://arxiv.org/abs/1711.02512). It
    is computed in float32 in shares of the largest value, so nothing overflows. Positions that are masked, as padding
    is behind `Embedding(mask_zero=True)`, do not count; where all are, the result is `epsilon`.

    Args:
        p: Exponent at the start, positive.
        epsilon: Least value, positive; what is below it counts as `epsilon`.

    Call arguments:
        inputs: Tokens `(B, T, C)` or maps `(B, H, W, C)`.

    Returns:
        `(B, C)`, in the compute dtype.
    """

    def __init__(self, p=3.0, epsilon=1e-6, **shared):
        super().__init__(**shared)
        self.p = number("p", p, "(0, inf)", "a positive exponent")
        self.epsilon = number("epsilon", epsilon, "(0, inf)")
        self.supports_masking = True

    def build(self, input_shape):
        self.exponent = self.add_weight(
            name="exponent", shape=(), dtype="float32", initializer=keras.initializers.Constant(self.p)
        )
        self.built = True

    def call(self, inputs, mask=None):
        positions = tuple(range(1, len(inputs.shape) - 1))
        values = ops.maximum(ops.cast(inputs, "float32"), self.epsilon)
        if mask is not None:
            mask = ops.expand_dims(mask, axis=-1)
            values = ops.where(mask, values, self.epsilon)
        largest = ops.stop_gradient(ops.max(values, axis=positions, keepdims=True))
        exponent = ops.convert_to_tensor(self.exponent)
        powers = ops.power(values / largest, exponent)
        mean = ops.mean(powers, axis=positions, keepdims=True) if mask is None else mean_of(powers, mask, positions)
        pooled = ops.squeeze(largest * ops.power(ops.where(mean > 0, mean, 1.0), 1 / exponent), axis=positions)
        return ops.cast(pooled, self.compute_dtype)

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return input_shape[0], input_shape[-1]

    def get_config(self):
        return {**super().get_config(), "p": self.p, "epsilon": self.epsilon}


class MeanOfTokens(keras.layers.GlobalAveragePooling1D):
    """The mean of tokens `(B, T, C)` that are not masked; zeros where all are, which Keras makes NaN of."""

    def call(self, inputs, mask=None):
        if mask is None:
            return super().call(inputs)
        mean = mean_of(ops.cast(inputs, "float32"), ops.expand_dims(mask, axis=-1), (1,))
        return ops.cast(ops.squeeze(mean, axis=1), self.compute_dtype)


def mean_of(values, mask, axes):
    """Mean of the values under `mask` over `axes`, which stay with size 1; 0 where there are none."""
    summed = ops.sum(ops.where(mask, values, ops.zeros_like(values)), axis=axes, keepdims=True)
    number = ops.sum(ops.cast(mask, values.dtype), axis=axes, keepdims=True)
    return summed / ops.maximum(number, 1)


@keras.saving.register_keras_serializable(package="keras_epos")
class ChosenTokens(keras.layers.Layer):
    """Of a vision transformer's tokens those that are meant: class and register tokens never get among the patches.

    Args:
        tokens: `"class"` for the class token `(B, C)`, `"mean"` for the mean of the patches `(B, C)`,
            `"class_and_mean"` for both side by side `(B, 2 C)`, `"patches"` for all patches `(B, P, C)`.
        num_before: Number of tokens before the patches: class, distillation and register tokens.

    Call arguments:
        inputs: Tokens `(B, num_before + P, C)`, the class token first.
    """

    def __init__(self, tokens, num_before, **shared):
        super().__init__(**shared)
        self.tokens = tokens
        self.num_before = num_before

    def call(self, inputs):
        if self.tokens == "class":
            return inputs[:, 0]
        patches = inputs[:, self.num_before :]
        if self.tokens == "patches":
            return patches
        mean = ops.mean(patches, axis=1)
        return mean if self.tokens == "mean" else ops.concatenate([inputs[:, 0], mean], axis=-1)

    def get_config(self):
        return {**super().get_config(), "tokens": self.tokens, "num_before": self.num_before}


def pool_tokens(tokens, pooling, num_before):
    """Features `(B, F)` of symbolic tokens `(B, T, C)`; `None` takes the class token, or the mean where none is."""
    pooling = pooling or ("class" if num_before else "mean")
    one_of("pooling", pooling, TOKEN_POOLINGS)
    if "class" in pooling and not num_before:
        raise ValueError(f'`pooling` must be "mean" or "gem" for tokens without a class token. Received: {pooling!r}.')
    if pooling == "gem":
        return GeneralizedMean(name="gem")(ChosenTokens("patches", num_before, name="patches")(tokens))
    return ChosenTokens(pooling, num_before, name="tokens")(tokens)


def pooling_for(feature_shape, dtype_policy, pooling=None):
    """The layer that pools features over positions, or `None` for features that are vectors already.

    Raises:
        ValueError: If the features are not one tensor of rank 2, 3 or 4, or `pooling` does not suit them.
    """
    is_one = isinstance(feature_shape, (tuple, list)) and all(
        size is None or isinstance(size, int) for size in feature_shape
    )
    if not is_one or len(feature_shape) not in (2, 3, 4):
        raise ValueError(
            "`backbone` must return one tensor: vectors (B, C), tokens (B, T, C) or maps (B, H, W, C). Received: "
            f"output shape {feature_shape}"
        )
    rank = len(feature_shape)
    if pooling is not None:
        hint = "Which token is the class token is known of keras_hub's backbones only." if "class" in pooling else ""
        one_of("pooling", pooling, POOLINGS, hint)
    if rank == 2:
        if pooling is not None:
            raise ValueError(
                f"`pooling` must be None for a backbone that returns vectors. Received: pooling={pooling!r}. "
                "Pass a backbone that returns maps or tokens."
            )
        return None
    if pooling == "gem":
        return GeneralizedMean(dtype=dtype_policy, name="pooling")
    mean = MeanOfTokens if rank == 3 else keras.layers.GlobalAveragePooling2D
    return mean(dtype=dtype_policy, name="pooling")
