"""BNNeckModel: triplets before a batch normalization, an ID loss behind it."""

import keras
from keras import ops

from keras_epos.training._embedding_model import EmbeddingModel


@keras.saving.register_keras_serializable(package="keras_epos")
class BNNeckModel(EmbeddingModel):
    """`EmbeddingModel` with a batch normalization ("BNNeck") between two outputs, each with a loss of its own.

    Losses of distances and losses of classes want different spaces. So triplets, and centers, look at what the dense
    layer gives, `"features"`, and an ID loss at what a batch normalization makes of it, `"embedding"`, divided by its
    norm. The normalization has no shift, as in the paper: classes are parted through the origin, where cosines begin.

    The embedding of a model in use is the one behind the neck, which the paper finds best by cosine: `RecallAtK`,
    `export` and whatever else takes a model take the output called `"embedding"` where none is named. With one addition
    to the paper, the dense layer before the neck, there are as many dimensions as wanted; and pair losses of this
    library compare directions, where the paper's triplets look at features of any length.

        model = keras_epos.BNNeckModel("ResNet50", embedding_dim=512)
        on_features = {"triplets": keras_epos.TripletLoss(0.3, "euclidean", "hard", "hard"),
                       "centers": keras_epos.CenterLoss(751)}
        model.compile(
            "adam",
            loss={
                "features": keras_epos.WeightedSum(on_features, {"centers": 0.0005}),
                "embedding": keras_epos.NormalizedSoftmaxLoss(751, label_smoothing=0.1),
            },
            loss_weights={"features": 1.0, "embedding": 1.0},
        )
        model.fit(batches, epochs=60)  # of (images, labels): the labels are those of both outputs

    Args:
        backbone, embedding_dim, freeze_batch_norm, normalize, dtype, name, pooling: See `EmbeddingModel`.

    Call arguments:
        inputs: What the backbone takes, usually images `(B, H, W, C)`.

    Returns:
        A dictionary of `"features"`, float32 `(B, embedding_dim)`, of any length, and `"embedding"`, float32
        `(B, embedding_dim)`, of norm 1 unless `normalize=False`.

    Raises:
        ValueError: As `EmbeddingModel`.

    Reference: Luo et al. 2019, "Bag of Tricks and A Strong Baseline for Deep Person Re-identification",
    https://arxiv.org/abs/1903.07071.

    Examples:
        >>> model = keras_epos.BNNeckModel(backbone, embedding_dim=8)
        >>> losses = {"features": "triplet", "embedding": keras_epos.NormalizedSoftmaxLoss(4, label_smoothing=0.1)}
        >>> model.compile("adam", loss=losses, loss_weights={"features": 1.0, "embedding": 0.5})
        >>> history = model.fit(images, labels, verbose=0)
        >>> model.predict(images, verbose=0)["embedding"].shape
        (40, 8)
    """

    output_names = ("features", "embedding")

    def build(self, input_shape):
        if not self._made_neck().built:
            self.neck.build((None, self.embedding_dim))
        super().build(input_shape)

    def _made_neck(self):
        # Not in a constructor, as that of the parent builds.
        if getattr(self, "neck", None) is None:
            self.neck = keras.layers.BatchNormalization(center=False, dtype=self.dtype_policy, name="neck")
        return self.neck

    def call(self, inputs, training=False):
        features = self.before_norm(inputs, training)
        return {
            "features": ops.cast(features, "float32"),
            "embedding": self.unit_norm(self.neck(features, training=training)),
        }

    def compute_output_shape(self, input_shape):
        return dict.fromkeys(self.output_names, (input_shape[0], self.embedding_dim))

    def compute_output_spec(self, inputs, training=False):
        shapes = self.compute_output_shape(keras.tree.flatten(inputs)[0].shape)
        return {name: keras.KerasTensor(shape, "float32") for name, shape in shapes.items()}

    def set_head(self, kernel, bias):
        """As that of `EmbeddingModel`; the neck becomes new, which passes on what it is given."""
        super().set_head(kernel, bias)
        neck = self._made_neck()
        for variable, value in ((neck.gamma, 1), (neck.moving_mean, 0), (neck.moving_variance, 1)):
            variable.assign(ops.full(variable.shape, value, variable.dtype))

    @property
    def output_dims(self):
        """Dictionary of each output's name to the size of its last axis."""
        return dict.fromkeys(self.output_names, self.embedding_dim)

    def parts(self, optimizer):
        """The dense layer and the neck have the first optimizer of `compile`, whatever trains the backbone."""
        return [*super().parts(optimizer), (self._made_neck(), optimizer)]

    def own_layers(self):
        return {**super().own_layers(), "neck": self._made_neck()}
