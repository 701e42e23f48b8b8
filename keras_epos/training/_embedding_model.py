"""EmbeddingModel: backbone, dense layer, unit norm; trained by any loss of the library."""

import json

import keras

from keras_epos._checks import integer, number
from keras_epos.training._adopts_losses import AdoptsLosses
from keras_epos.training._backbone import load_backbone, set_dtype_policy, warn_of_class_scores
from keras_epos.training._depth import depth_groups
from keras_epos.training._first_layers import freeze_first_layers
from keras_epos.training._frozen_layers import freeze_layers, frozen_layers, layers_by_path
from keras_epos.training._hub_backbone import imported_hub
from keras_epos.training._low_rank import adapt, freeze_base, merged_copy, refuse_adapted
from keras_epos.training._pooling import pooling_for


@keras.saving.register_keras_serializable(package="keras_epos")
class EmbeddingModel(AdoptsLosses, keras.Model):
    """Maps inputs to unit embeddings; compiled, trained, evaluated and saved like every Keras model.

    The backbone's features (averaged over positions, if it returns maps or tokens) go through one dense layer and
    are divided by their norm in float32. With a loss of this library the logs also report the share of anchors
    that still have a gradient (`active_anchors`, 0 to 1) and the mean cosine similarity of the selected positives
    and negatives (`positive_similarity`, `negative_similarity`). Weights of the loss itself are trained and saved
    with the model.

    Args:
        backbone: A Keras model; the path of a `.keras` file; the name of a `keras.applications` model, such as
            `"EfficientNetV2B0"`; or the name of a preset of keras_hub (`pip install keras-epos[hub]`), such as
            `"dinov2_small"`. Names bring pretrained weights and their preprocessing, so they take RGB in 0..255.
        embedding_dim: Number of dimensions of the embeddings.
        freeze_batch_norm: Whether the backbone's BatchNormalization layers stay as they are: statistics, scale and
            shift. Advisable when fine-tuning with small batches.
        normalize: Whether embeddings are divided by their norm. Turn it off only for losses on raw embeddings, such
            as `NPairsLoss(normalize=False)`.
        dtype: Dtype policy, such as `"mixed_bfloat16"`; it is set on the backbone's layers too. Embeddings are
            float32 under every policy.
        name: Name of the model.
        pooling: How features at many places become one vector: `None` for their mean, of a keras_hub backbone for
            the feature that its family takes; `"mean"`; `"gem"`, see `keras_epos.training.GeneralizedMean`; and where
            there is a class token `"class"` or `"class_and_mean"`, see `keras_epos.training.hub_backbone`.
        lora: Rank of low-rank adapters beside the projections of attention that make queries and values, 4 to 16 as a
            rule, or `None`. The backbone's own weights then stay as they are, and adapters and dense layer are trained
            (Hu et al. 2021, https://arxiv.org/abs/2106.09685). The layers of the backbone that is passed are adapted as
            they are, no copy. `merged` gives a model without adapters, and so do the
            exports; `keras_epos.training.save_adapters` writes what was trained alone.
        freeze: Share of the backbone's layers, the first of them, that stay as they are, in [0, 1]. See
            `keras_epos.training.freeze_first_layers`.

    What `freeze_batch_norm`, `lora` and `freeze` freeze is frozen again in every `compile`, also after
    `backbone.trainable = True`.

    Call arguments:
        inputs: What the backbone takes, usually images `(B, H, W, C)`.

    Returns:
        Embeddings, float32, `(B, embedding_dim)`, of norm 1 unless `normalize=False`.

    Raises:
        ValueError: If the backbone is none of the above, or does not return one tensor of rank 2, 3 or 4; if an
            argument is out of range, or `lora` finds nothing to adapt.

    Examples:
        >>> model = keras_epos.EmbeddingModel(backbone, embedding_dim=8)
        >>> model.compile("adam", loss=keras_epos.EasyPositiveTripletLoss())
        >>> history = model.fit(images, labels, verbose=0)
    """

    _frozen_when_built = None

    def __init__(
        self,
        backbone,
        embedding_dim=128,
        freeze_batch_norm=False,
        normalize=True,
        dtype=None,
        name=None,
        *,
        pooling=None,
        lora=None,
        freeze=0.0,
    ):
        embedding_dim = integer("embedding_dim", embedding_dim, 1)
        lora = None if lora is None else integer("lora", lora, 1)
        number("freeze", freeze, "[0, 1]", "a share of the backbone's layers")
        super().__init__(name=name, dtype=dtype)
        self.backbone, self._pooling = load_backbone(backbone, pooling)
        warn_of_class_scores(self.backbone)
        self.freeze_batch_norm = freeze_batch_norm
        self.freeze = freeze
        self._lora = lora
        set_dtype_policy(self.backbone, self.dtype_policy)
        if lora is None:
            refuse_adapted(self.backbone)
        else:
            adapt(self.backbone, lora)
        self.keep_frozen()
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
        self.pooling = pooling_for(features, self.dtype_policy, self._pooling)
        if self.pooling is not None and not self.pooling.built:
            self.pooling.build(features)
        if not self.embedding.built:
            self.embedding.build((None, features[-1]))
        self.built = True
        if self._frozen_when_built is not None:
            freeze_layers(self.own_layers(), self._frozen_when_built)
            self._frozen_when_built = None

    def call(self, inputs, training=False):
        return self.unit_norm(self.before_norm(inputs, training))

    def before_norm(self, inputs, training):
        """What the dense layer makes of the features, `(B, embedding_dim)`."""
        features = self.backbone(inputs, training=training)
        if self.pooling is not None:
            features = self.pooling(features)
        return self.embedding(features)

    def compute_output_shape(self, input_shape):
        return input_shape[0], self.embedding_dim

    def compute_output_spec(self, inputs, training=False):
        shapes = self.compute_output_shape(keras.tree.flatten(inputs)[0].shape)
        return keras.tree.map_shape_structure(lambda shape: keras.KerasTensor(shape, "float32"), shapes)

    def set_head(self, kernel, bias):
        """Let the embeddings be the features times `kernel` `(F, D)` plus `bias` `(D,)`, of norm 1 with `normalize`."""
        self.embedding.kernel.assign(kernel)
        self.embedding.bias.assign(bias)

    @property
    def embedding_dim(self):
        """Number of dimensions of the embeddings."""
        return self.embedding.units

    @property
    def normalize(self):
        """Whether embeddings are divided by their norm."""
        return isinstance(self.unit_norm, keras.layers.UnitNormalization)

    @property
    def lora(self):
        """Rank of the adapters, or `None`."""
        return self._lora

    @property
    def output_dims(self):
        """Dictionary of each output's name to the size of its last axis."""
        return {"embedding": self.embedding_dim}

    def parts(self, optimizer):
        """The dense layer has the first optimizer of `compile`, whatever trains the backbone."""
        return [(self.embedding, optimizer)]

    def depth_groups(self):
        """The layers of the backbone by depth, the last first: a list of objects with `depth` and `layers`.

        Blocks with attention count, and stages of maps of one size; 1 is the last. What `layer_decay` uses.
        """
        return depth_groups(self.backbone)

    def compile(
        self,
        optimizer="adam",
        loss=None,
        backbone_optimizer=None,
        loss_optimizer=None,
        *,
        layer_decay=None,
        micro_batch=None,
        **arguments,
    ):
        """As `keras.Model.compile`, with optimizers of their own for the backbone and for the loss if wanted.

        Args:
            optimizer: Trains the dense layer, the backbone unless `backbone_optimizer` is given, and the weights of
                the loss unless `loss_optimizer` is given.
            loss: A loss of this library, its name such as `"multi_similarity"`, or whatever Keras takes.
            backbone_optimizer: Optimizer of the backbone, usually with a smaller learning rate, or `None`.
            loss_optimizer: Optimizer of the weights of the loss, usually with a learning rate 10 to 100 times as high
                where these are proxies, or `None`.
            layer_decay: Factor in (0, 1], such as 0.75: weights of the backbone at depth d learn at `layer_decay**d` of
                its rate. The last block of a transformer has depth 1, the embedding of patches the largest; of a CNN
                the last stage, whose maps have one size, has depth 1. Each depth has a copy of the optimizer.
            micro_batch: Samples that a training step embeds at a time, or `None` for all of the batch. The gradient is
                that of the whole batch, the memory that of so few samples, and each sample is embedded twice (gradient
                caching, Gao et al. 2021, https://arxiv.org/abs/2101.06983). BatchNormalization that is not frozen
                normalizes each piece by itself.
            arguments: All others of `keras.Model.compile`.

        Raises:
            ValueError: If optimizers or losses cannot be combined, or `layer_decay` is out of range, for a backbone of
                one depth, or with an optimizer that has a `global_clipnorm`.
        """
        self.keep_frozen()
        self._compile(optimizer, loss, backbone_optimizer, loss_optimizer, layer_decay, micro_batch, **arguments)

    def keep_frozen(self):
        """Freeze again what `lora`, `freeze` and `freeze_batch_norm` do: `backbone.trainable = True` reaches it too."""
        if self._lora is not None:
            freeze_base(self.backbone)
        freeze_first_layers(self.backbone, self.freeze)
        for layer in self.backbone._flatten_layers() if self.freeze_batch_norm else ():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False

    def merged(self):
        """The model itself; with `lora` a copy without adapters that gives the same embeddings, not compiled.

        Their products are added to the kernels, and what `lora` froze can be trained. A model whose backbone is taken
        elsewhere must be merged first: `model.backbone` saved alone is what it was before training.
        """
        return self if self._lora is None else merged_copy(self)

    def export(self, *arguments, **named):
        """As `keras.Model.export`, of the model without adapters that `merged` returns."""
        model = super() if self._lora is None else self.merged()
        return model.export(*arguments, **named)

    def quantize(self, *arguments, **named):
        """As `keras.Model.quantize`, for models without adapters.

        Raises:
            ValueError: With `lora`.
        """
        if self._lora is not None:
            raise ValueError(
                f"`lora` must be None to quantize a model. Received: lora={self._lora}. Quantize `model.merged()`."
            )
        return super().quantize(*arguments, **named)

    def get_config(self):
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "embedding_dim": self.embedding_dim,
            "freeze_batch_norm": self.freeze_batch_norm,
            "normalize": self.normalize,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            "name": self.name,
            "pooling": self._pooling,
            "lora": self._lora,
            "freeze": self.freeze,
            # What was set on the layers afterwards: low-rank adaptation, quantization, what is trained.
            "embedding": keras.saving.serialize_keras_object(self.embedding),
            "frozen_layers": frozen_layers(self.own_layers()),
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if not isinstance(config["backbone"], dict):
            # A name or path would make a file that is loaded open another one, or the network.
            raise ValueError(
                "`config` must hold the backbone as a serialized model. Received: "
                f"backbone={config['backbone']!r}. To build one by name or path call {cls.__name__}(backbone)."
            )
        if "keras_hub" in json.dumps(config["backbone"], default=str):
            imported_hub()
        config["backbone"] = keras.saving.deserialize_keras_object(config["backbone"])
        embedding, frozen = config.pop("embedding", None), config.pop("frozen_layers", None)
        model = cls(**config)
        if embedding is not None:
            model._replace_embedding(keras.saving.deserialize_keras_object(embedding))
        if frozen is not None and model.built:
            freeze_layers(model.own_layers(), frozen)
        elif frozen is not None:  # some layers are made by `build`
            model._frozen_when_built = tuple(frozen)
        return model

    def own_layers(self):
        """The model's layers by their path, outer ones first, without those that hold weights of a loss."""
        pooling = {} if self.pooling is None else {"pooling": self.pooling}
        return {self.name: self, **layers_by_path(self.backbone, "backbone"), **pooling, "embedding": self.embedding}

    def _replace_embedding(self, layer):
        was_locked, self._tracker.locked = self._tracker.locked, False
        place = next(number for number, one in enumerate(self._layers) if one is self.embedding)
        self._tracker.untrack(self.embedding)
        self.embedding = layer
        # In the place of the old one: the state of an optimizer is saved in the order of the weights.
        self._layers.insert(place, self._layers.pop())
        self._tracker.locked = was_locked
