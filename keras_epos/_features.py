"""The model without its head: the pooled features of its backbone."""

import keras
from keras import ops


class PooledFeatures(keras.Model):
    """The pooled features of the backbone of an `EmbeddingModel`, float32 `(B, F)`."""

    def __init__(self, model):
        super().__init__(dtype="float32")
        self.backbone, self.pooling = model.backbone, model.pooling

    def call(self, inputs):
        features = self.backbone(inputs, training=False)
        return ops.cast(features if self.pooling is None else self.pooling(features), "float32")


def pooled_features(model):
    """`PooledFeatures` of a model that has a backbone and a pooling, or `None`."""
    if not isinstance(getattr(model, "backbone", None), keras.Layer) or not hasattr(model, "pooling"):
        return None
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is None:
        return PooledFeatures(model)
    with strategy.scope():
        return PooledFeatures(model)
