"""Backbones without keras_hub in which attention and depth are known: functional, of layers of layers, and a CNN."""

import keras

SHAPE = (8, 8, 3)


@keras.saving.register_keras_serializable(package="tests")
class Block(keras.layers.Layer):
    """A transformer's block whose projections have no names, only attributes."""

    def __init__(self, dim, **shared):
        super().__init__(**shared)
        self.dim = dim
        self.q, self.k, self.v = (keras.layers.Dense(dim, dtype=self.dtype_policy) for _ in range(3))
        self.norm = keras.layers.LayerNormalization(dtype=self.dtype_policy)
        self.last = keras.layers.Dense(dim, dtype=self.dtype_policy)

    def build(self, shape):
        for layer in (self.q, self.k, self.v, self.norm, self.last):
            layer.build(shape)

    def call(self, inputs):
        tokens = self.norm(inputs)
        weights = keras.ops.softmax(keras.ops.einsum("btc,bsc->bts", self.q(tokens), self.k(tokens)))
        return inputs + self.last(keras.ops.matmul(weights, self.v(tokens)))

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "dim": self.dim}


@keras.saving.register_keras_serializable(package="tests")
class Encoder(keras.layers.Layer):
    """Two blocks in one layer, and a token that is a weight of its own."""

    def __init__(self, dim, **shared):
        super().__init__(**shared)
        self.dim = dim
        self.blocks = [Block(dim, dtype=self.dtype_policy) for _ in range(2)]

    def build(self, shape):
        self.token = self.add_weight(name="token", shape=(1, 1, self.dim))
        for block in self.blocks:
            block.build(shape)

    def call(self, inputs):
        tokens = inputs + keras.ops.convert_to_tensor(self.token)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "dim": self.dim}


def of_layers(name="of_layers"):
    """Patches, an encoder with its blocks inside, a normalization."""
    image = keras.Input(SHAPE)
    tokens = keras.layers.Reshape((4, 6))(keras.layers.Conv2D(6, 4, strides=4, name="patches")(image))
    return keras.Model(image, keras.layers.LayerNormalization(name="last_norm")(Encoder(6)(tokens)), name=name)


def functional(name="functional"):
    """Two blocks of Keras's own layers in one graph."""
    image = keras.Input(SHAPE)
    tokens = keras.layers.Reshape((4, 6))(keras.layers.Conv2D(6, 4, strides=4, name="patches")(image))
    for number in range(2):
        within = keras.layers.LayerNormalization(name=f"norm_{number}")(tokens)
        within = keras.layers.MultiHeadAttention(2, 4, name=f"attention_{number}")(within, within)
        tokens = keras.layers.Add()([tokens, within])
        within = keras.layers.Dense(8, activation="gelu", name=f"wide_{number}")(tokens)
        tokens = keras.layers.Add()([tokens, keras.layers.Dense(6, name=f"narrow_{number}")(within)])
    return keras.Model(image, tokens, name=name)


def convolutions(name="convolutions"):
    """Three stages, the second with a branch beside it that also has a stride."""
    image = keras.Input(SHAPE)
    maps = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="stem")(image)
    maps = keras.layers.BatchNormalization(name="stem_norm")(maps)
    beside = keras.layers.Conv2D(4, 1, strides=2, name="beside")(maps)
    maps = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="second")(maps)
    maps = keras.layers.Add()([maps, beside])
    maps = keras.layers.MaxPooling2D(name="pool")(maps)
    return keras.Model(image, keras.layers.Conv2D(4, 1, name="third")(maps), name=name)
