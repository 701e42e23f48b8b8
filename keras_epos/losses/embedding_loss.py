"""EmbeddingLoss: what every loss over labels and embeddings shares, pairs or not."""

import keras

from keras_epos.config import constructor_arguments
from keras_epos.losses.batch import labels_and_embeddings
from keras_epos.losses.terms import per_anchor, reduced


class EmbeddingLoss(keras.losses.Loss):
    """Base of the losses. Labels stay integers, embeddings are compared in float32 whatever the model's policy.

    Subclasses define `terms`, and those with weights of their own also `build`.

    Args:
        average_over: `"valid"`: the mean is over all terms; `"active"`: only over those with a gradient.
        ignore_label: Label of samples that do not take part, or `None`.
        reduction: As in Keras; `None` returns one value per anchor, shape `(B,)`, whose mean over the counted
            anchors is the loss.
        name: Name in the logs.
        dtype: `"float32"` or `"float64"`, of the computation inside.

    Call arguments:
        y_true: Integer labels of shape `(B,)` or `(B, 1)`, any integer dtype.
        y_pred: Embeddings of shape `(B, D)`, any float dtype.
        sample_weight: Weights of the anchors, shape `(B,)` or `(B, 1)`, or `None`.

    Attributes:
        statistics: What a step has seen, a dictionary of scalars with the keys `statistic_names`; `None` before.
            `valid_anchors` is the share of the batch that takes part, 0 to 1. Where it is 0 nothing was measured: the
            other values are 0 and mean nothing.
        training: Whether the next call is a training step; an `EmbeddingModel` sets it. Only losses that keep a
            memory look at it.

    Raises:
        ValueError: If the labels are not integers, the shapes do not fit, or an argument is out of range.
    """

    # Whether the loss has weights or state of its own, which only a model that adopts it trains and saves.
    needs_adoption = False
    # Whether labels may be rows, `(B, L)`.
    takes_label_rows = False
    statistic_names = ("valid_anchors", "active_anchors", "positive_similarity", "negative_similarity")

    def __init__(
        self,
        average_over="valid",
        ignore_label=None,
        reduction="sum_over_batch_size",
        name=None,
        dtype="float32",
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if self.dtype not in ("float32", "float64"):
            raise ValueError(
                f'`dtype` must be "float32" or "float64". Received: dtype={dtype!r}. Models of any policy may use '
                "the loss: embeddings are converted on entry."
            )
        if average_over not in ("valid", "active"):
            raise ValueError(f'`average_over` must be "valid" or "active". Received: average_over={average_over!r}')
        self.average_over = average_over
        self.ignore_label = ignore_label
        self.statistics = None
        self.training = True
        # Layer that holds the loss's own weights, once they are built.
        self._layer = None

    def adopt(self, embedding_dim=None):
        """Take charge of the loss's state: what a model must track, train and save.

        Args:
            embedding_dim: Number of dimensions of the embeddings, which the shapes of some weights depend on.

        Returns:
            List of layers and seed generators, empty for most losses.

        Raises:
            ValueError: If the loss has its weights already and they are for another `embedding_dim`.
        """
        if not self.needs_adoption:
            return []
        if self._layer is None:
            self._layer = keras.layers.Layer(name=f"{self.name}_weights", dtype=self.dtype)
            # By which a model tells the weights of one loss from those of another.
            self._layer.kind, self._layer.num_classes = type(self).__name__, getattr(self, "num_classes", None)
            self.build(embedding_dim)
            self._layer.built = True
        elif embedding_dim is not None and any(
            len(weight.shape) == 2 and weight.shape[-1] != embedding_dim for weight in self._layer.weights
        ):
            shapes = [tuple(weight.shape) for weight in self._layer.weights]
            raise ValueError(
                f"`embedding_dim` must be that of the loss's weights, of shapes {shapes}. "
                f"Received: embedding_dim={embedding_dim}. A loss belongs to one model; make a new one."
            )
        return [self._layer]

    def build(self, embedding_dim):
        """Add the loss's weights to `self._layer`, a plain Keras layer."""
        raise NotImplementedError(f"{type(self).__name__} must define build().")

    def terms(self, labels, embeddings):
        """`Terms` of every anchor, from labels `(B,)` and float embeddings `(B, D)`."""
        raise NotImplementedError(f"{type(self).__name__} must define terms().")

    def __call__(self, y_true, y_pred, sample_weight=None):
        with keras.name_scope(self.name):
            return reduced(*self.values(y_true, y_pred), sample_weight, self.reduction)

    def call(self, y_true, y_pred):
        """One value per anchor, shape `(B,)`, whose mean over the counted anchors is the loss."""
        return self.values(y_true, y_pred)[0]

    def values(self, y_true, y_pred):
        """One value for each anchor, and 1 or 0 for whether it counts in a mean; both `(B,)`."""
        self.refuse_untrained()
        labels, embeddings = labels_and_embeddings(y_true, y_pred, self.dtype, self.takes_label_rows)
        return per_anchor(self.terms(labels, embeddings), self.average_over)

    def share_of(self, statistic):
        """Share of the batch that a statistic was measured on, which is its weight in a mean over batches."""
        return 1.0 if statistic == "valid_anchors" else self.statistics["valid_anchors"]

    def refuse_untrained(self):
        if self.needs_adoption and self._layer is None:
            raise ValueError(
                f"`{self.name}` has weights of its own, which a plain keras.Model would never train. Compile it into "
                "a keras_epos.EmbeddingModel or keras_epos.MetricLearningModel(model.inputs, model.outputs), or call "
                "`loss.adopt(embedding_dim)` and train the variables of what it returns."
            )

    def get_config(self):
        return constructor_arguments(self)
