"""EmbeddingModel: backbone, dense layer, unit norm; trained by any loss of the library."""

import keras

from keras_epos.training.adopts_losses import AdoptsLosses
from keras_epos.training.backbone import load_backbone, pooling_for, set_dtype_policy


@keras.saving.register_keras_serializable(package="keras_epos")
class EmbeddingModel(AdoptsLosses, keras.Model):
    """Maps inputs to unit embeddings; compiled, trained, evaluated and saved like every Keras model.

    The backbone's features (averaged over positions, if it returns maps or tokens) go through one dense layer and
    are divided by their norm in float32. With a loss of this library the logs also report the share of anchors
    that still have a gradient (`active_anchors`, 0 to 1) and the mean cosine similarity of the selected positives
    and negatives (`positive_similarity`, `negative_similarity`). Weights of the loss itself are trained and saved
    with the model.

    Args:
        backbone: A Keras model, the path of a `.keras` file, or the name of a `keras.applications` model, such as
            `"EfficientNetV2B0"` (ImageNet weights; its preprocessing is included, so it takes RGB in 0..255).
        embedding_dim: Number of dimensions of the embeddings.
        freeze_batch_norm: Whether the backbone's BatchNormalization layers stay as they are: statistics, scale and
            shift. Advisable when fine-tuning with small batches.
        normalize: Whether embeddings are divided by their norm. Turn it off only for losses on raw embeddings, such
            as `NPairsLoss(normalize=False)`.
        dtype: Dtype policy, such as `"mixed_bfloat16"`; it is set on the backbone's layers too. Embeddings are
            float32 under every policy.
        name: Name of the model.

    Call arguments:
        inputs: What the backbone takes, usually images `(B, H, W, C)`.

    Returns:
        Embeddings, float32, `(B, embedding_dim)`, of norm 1 unless `normalize=False`.

    Raises:
        ValueError: If the backbone is none of the above, or does not return one tensor of rank 2, 3 or 4.
    """

    def __init__(self, backbone, embedding_dim=128, freeze_batch_norm=False, normalize=True, dtype=None, name=None):
        super().__init__(name=name, dtype=dtype)
        self.backbone = load_backbone(backbone)
        self.embedding_dim = embedding_dim
        self.freeze_batch_norm = freeze_batch_norm
        self.normalize = normalize
        set_dtype_policy(self.backbone, self.dtype_policy)
        if freeze_batch_norm:
            for layer in self.backbone._flatten_layers():
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.trainable = False
        self.pooling = None
        self.embedding = keras.layers.Dense(embedding_dim, dtype=self.dtype_policy, name="embedding")
        to_float32 = keras.layers.UnitNormalization if normalize else keras.layers.Identity
        self.unit_norm = to_float32(dtype="float32", name="unit_norm")
        if self.backbone.built and getattr(self.backbone, "input_shape", None) is not None:
            self.build(self.backbone.input_shape)

    def build(self, input_shape):
        if not self.backbone.built:
            self.backbone.build(input_shape)
        features = self.backbone.compute_output_shape(input_shape)
        self.pooling = pooling_for(features, self.dtype_policy)
        self.embedding.build((None, features[-1]))
        self.built = True

    def call(self, inputs, training=False):
        features = self.backbone(inputs, training=training)
        if self.pooling is not None:
            features = self.pooling(features)
        return self.unit_norm(self.embedding(features))

    def compute_output_shape(self, input_shape):
        return input_shape[0], self.embedding_dim

    @property
    def output_dims(self):
        """Dictionary of each output's name to the size of its last axis."""
        return {"embedding": self.embedding_dim}

    def parts(self, optimizer):
        """The dense layer has the optimizer of the losses' weights, whatever trains the backbone."""
        return [(self.embedding, optimizer)]

    def compile(self, optimizer="adam", loss=None, backbone_optimizer=None, **arguments):
        """As `keras.Model.compile`, with an optimizer of its own for the backbone if wanted.

        Args:
            optimizer: Trains the dense layer and the weights of the loss, and the backbone unless
                `backbone_optimizer` is given.
            loss: A loss of this library, its name such as `"multi_similarity"`, or whatever Keras takes.
            backbone_optimizer: Optimizer of the backbone, usually with a smaller learning rate, or `None`.
            arguments: All others of `keras.Model.compile`.
        """
        self._compile(optimizer, loss, backbone_optimizer, **arguments)

    def get_config(self):
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "embedding_dim": self.embedding_dim,
            "freeze_batch_norm": self.freeze_batch_norm,
            "normalize": self.normalize,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config, backbone=keras.saving.deserialize_keras_object(config["backbone"]))
        return cls(**config)
