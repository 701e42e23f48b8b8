"""EmbeddingLoss: what every loss over labels and embeddings shares, pairs or not."""

import keras
from keras import ops

from keras_epos._checks import integer
from keras_epos._config import KnownArguments, constructor_arguments
from keras_epos.losses import _replicas as replicas
from keras_epos.losses._batch import are_of_known_classes, at_least_one_row, known_rows, labels_and_embeddings
from keras_epos.losses._recording import is_training, record
from keras_epos.losses._terms import LossResult, per_anchor


class EmbeddingLoss(KnownArguments, keras.losses.Loss):
    """Base of the losses. Labels stay integers, embeddings are compared in float32 whatever the model's policy.

    Subclasses define `terms`, and those with weights of their own also `build`. `result` is the one way in: calls and
    models take it, and it changes nothing but the loss's own variables.

    Args:
        average_over: `"valid"`: the mean is over all terms; `"active"`: only over those with a gradient.
        ignore_label: Label of samples that do not take part, an integer or `None`. Whatever stands in their rows, NaN
            too, touches neither value nor gradient.
        reduction: As in Keras; `None` returns one value per anchor, shape `(B,)`, whose mean over the counted
            anchors is the loss.
        name: Name in the logs.
        dtype: `"float32"` or `"float64"`, of the computation inside.

    Call arguments:
        y_true: Integer labels of shape `(B,)` or `(B, 1)`, any integer dtype.
        y_pred: Embeddings of shape `(B, D)`, any float dtype; `D` of 2 or more where only directions count.
        sample_weight: Weights of the anchors, shape `(B,)` or `(B, 1)`, or `None`.

    Returns:
        The loss, a scalar unless `reduction` is `None`: 0 for a batch of which no anchor takes part, or an empty one.
        NaN if an embedding, a weight of a sample or a weight of the loss is not finite, whatever the formula makes of
        it; without reduction in every row, as every anchor is compared with every row.

    Raises:
        ValueError: If the labels are not integers, the shapes do not fit, or an argument is out of range.
    """

    # Whether the loss has weights or state of its own, which only a model that adopts it trains and saves.
    needs_adoption = False
    # Whether labels may be rows, `(B, L)`.
    takes_label_rows = False
    # Whether the length of an embedding does not count, so that one number alone says nothing.
    needs_direction = False
    # How many of the first dimensions count where a `Matryoshka` looks at a prefix; `None` for all.
    prefix_dim = None
    # Embeddings that stand side by side in a row.
    num_towers = 1
    # Whether a prefix of an embedding means to the loss what an embedding does.
    takes_prefixes = True
    # Number of classes that the loss keeps something for, if it does.
    num_classes = None
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
        self.ignore_label = (
            None
            if ignore_label is None
            else integer("ignore_label", ignore_label, hint="Pass None to ignore no label.")
        )
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
        """`Terms` of every anchor with their statistics, from labels `(B,)` and float embeddings `(B, D)`."""
        raise NotImplementedError(f"{type(self).__name__} must define terms().")

    def __call__(self, y_true, y_pred, sample_weight=None):
        with keras.name_scope(self.name):
            replica = replicas.current()
            own_rows = y_pred
            if replica is not None:
                y_true, y_pred, sample_weight = map(replica.gathered, (y_true, y_pred, sample_weight))
            result = self.result(y_true, y_pred, is_training())
            record(self, result, sample_weight)
            loss = result.reduced(sample_weight, self.reduction)
            return loss if replica is None else replica.share(loss, own_rows)

    def call(self, y_true, y_pred):
        """One value per anchor, shape `(B,)`, whose mean over the counted anchors is the loss."""
        return self.result(y_true, y_pred, is_training()).values

    def result(self, y_true, y_pred, training=True):
        """What the loss makes of a batch: the value of each anchor, whether it counts, and what was seen.

        Args:
            y_true, y_pred: As the call arguments.
            training: Whether this is a training step. Only losses that keep a memory look at it.

        Returns:
            `LossResult`; its `statistics` have the keys `statistic_names`.
        """
        labels, embeddings = self.accepted(y_true, y_pred)
        return self.of_batch(labels, known_rows(labels, embeddings, self.ignore_label), self.terms, training)

    def accepted(self, y_true, y_pred):
        """Labels and embeddings as tensors, or an error."""
        self.refuse_untrained()
        labels, embeddings = labels_and_embeddings(y_true, y_pred, self.dtype, self.takes_label_rows)
        if self.needs_direction and embeddings.shape[-1] == 1:
            raise ValueError(
                "`y_pred` must have at least 2 dimensions, as one number has no direction. Received: shape "
                f"{tuple(embeddings.shape)}. A distance of two embeddings belongs to "
                "keras_epos.compat.tfa.ContrastiveLoss."
            )
        return labels, embeddings

    def of_batch(self, labels, embeddings, terms, training):
        """`LossResult` from what `terms(labels, embeddings)` returns."""
        # First, since labels that are of no class may not fit what follows.
        alarm = self.alarm(labels, embeddings, training)
        size = ops.shape(embeddings)[0]
        filled = at_least_one_row(labels, embeddings)
        terms = terms(*filled)
        values, takes_part = per_anchor(terms, self.average_over)
        statistics = terms.statistics
        if filled[1] is not embeddings:
            is_there = ops.cast(size > 0, self.dtype)
            statistics = {name: value * is_there for name, value in statistics.items()}
            values, takes_part = values[:size], takes_part[:size]
        return LossResult(values + alarm, takes_part, statistics)

    def alarm(self, labels, embeddings, training=True):
        """0, or NaN where the loss must be: a scalar, or `(B,)`. Formulas mask what they do not need, NaN included."""
        checked = [embeddings, *(ops.convert_to_tensor(weight) for weight in self.learned(training))]
        is_sound = ops.all(ops.stack([ops.all(ops.isfinite(values)) for values in checked]))
        if self.num_classes is not None:
            known = are_of_known_classes(labels, self.num_classes, self.ignore_label, training)
            is_sound = ops.logical_and(is_sound, known)
        return ops.where(is_sound, ops.zeros((), self.dtype), ops.full((), float("nan"), self.dtype))

    def learned(self, training):
        """The weights that a call looks at."""
        return [] if self._layer is None else self._layer.trainable_weights

    def sampled_losses(self):
        """The losses that draw the classes of a training step: itself, those it is made of, or none."""
        return []

    def refuse_untrained(self):
        if self.needs_adoption and self._layer is None:
            raise ValueError(
                f"`{self.name}` has weights of its own, which a plain keras.Model would never train. Compile it into "
                "a keras_epos.EmbeddingModel or keras_epos.MetricLearningModel(model.inputs, model.outputs), or call "
                "`loss.adopt(embedding_dim)` and train the variables of what it returns."
            )

    def get_config(self):
        return constructor_arguments(self)
