"""PairLoss: from labels and embeddings to pairs, through mining, to the formula of a loss."""

from typing import NamedTuple

import keras
from keras import ops

from keras_epos import mining
from keras_epos.config import constructor_arguments
from keras_epos.gradient import gradient
from keras_epos.losses.batch import labels_and_embeddings
from keras_epos.losses.reduction import per_anchor, reduced
from keras_epos.pairs import LOWEST, all_cosines, masked_mean, masks, row_similarity, to_similarity, unit

METRICS = ("cosine", "euclidean", "squared_euclidean")


class Side(NamedTuple):
    """The selected positives, or the selected negatives, of every anchor.

    Attributes:
        similarity: `(A, K)` floats in the metric of the loss; distances are negated, so more is nearer.
        mask: `(A, K)` booleans; the other entries mean nothing.
        paired: Whether column `j` was chosen for the positive in column `j`.
    """

    similarity: object
    mask: object
    paired: bool = False


class Terms(NamedTuple):
    """What a formula returns for every anchor, each of shape `(A,)`.

    Attributes:
        total: Sum of the anchor's terms.
        valid: How many terms it has; `None` means one for every anchor that has a positive and a negative.
        active: How many of them are not at rest, that is, have a gradient.
    """

    total: object
    valid: object
    active: object


class PairLoss(keras.losses.Loss):
    """Base of the losses over pairs of a batch. Subclasses define `formula`; everything else is here.

    Anchors are the rows of the batch; references are the same rows. Embeddings are divided by their norm and
    compared in float32 whatever the dtype policy of the model. Labels stay integers, exact in any dtype. An
    anchor without a valid positive or without a valid negative adds exactly 0 to the loss and to the gradient
    and is left out of the mean.

    Args:
        positives: Which positives count: `"all"`, `"easy"`, `"hard"`, `"random"`, or a strategy object.
        negatives: Which negatives count: `"all"`, `"hard"`, `"semi_hard"`, `"distance_weighted"`, `"random"`,
            `"easy"`, or a strategy object.
        average_over: `"valid"`: the mean is over all terms of the anchors that have positives and negatives;
            `"active"`: only over the terms with a gradient, so the step does not fade as terms come to rest.
        ignore_label: Label of samples that are neither anchor nor reference, or `None`.
        reduction: As in Keras; `None` returns one value per anchor, shape `(B,)`, whose mean over the counted
            anchors is the loss.
        name: Name in the logs.
        dtype: `"float32"` or `"float64"`, of the computation inside.

    Call arguments:
        y_true: Integer labels of shape `(B,)` or `(B, 1)`, any integer dtype.
        y_pred: Embeddings of shape `(B, D)`, any float dtype.
        sample_weight: Weights of the anchors, shape `(B,)` or `(B, 1)`, or `None`.

    Raises:
        ValueError: If the labels are not integers, the shapes do not fit, or an argument is out of range.
    """

    metric = "cosine"
    # Whether the formula has a term for each positive, so that each positive can have its own negative.
    has_triplets = False

    def __init__(
        self,
        positives="all",
        negatives="all",
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
        self.positives = mining.get(positives, "positives")
        self.negatives = mining.get(negatives, "negatives")
        self._refuse_senseless_strategies()
        self.average_over = average_over
        self.ignore_label = ignore_label
        self.statistics = None
        # Layer that holds the loss's own weights, and whether a model or a user has taken charge of them.
        self._layer, self._is_adopted = None, False

    def adopt(self):
        """Take charge of the loss's state: what a model must track, train and save.

        Returns:
            List of layers and seed generators, empty for most losses.
        """
        self._is_adopted = True
        generators = [getattr(side, "generator", None) for side in (self.positives, self.negatives)]
        return [state for state in (self._layer, *generators) if state is not None]

    def _refuse_senseless_strategies(self):
        if self.positives.relative or isinstance(self.positives, mining.DistanceWeighted):
            raise ValueError(
                "`positives` must be chosen by a strategy that needs no positive to refer to: all, easy, hard or "
                f"random. Received: positives={self.positives}"
            )
        if self.negatives.relative and not self.has_triplets and self.positives.count != 1:
            raise ValueError(
                f"`negatives={self.negatives}` must go with one positive per anchor in {type(self).__name__}, "
                f'such as positives="easy". Received: positives={self.positives}'
            )

    def formula(self, positives, negatives, anchor_labels):
        """The loss on what was selected.

        Args:
            positives, negatives: A `Side` each.
            anchor_labels: Integers `(A,)`.

        Returns:
            `Terms`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define formula().")

    def __call__(self, y_true, y_pred, sample_weight=None):
        if self._layer is not None and not self._is_adopted:
            raise ValueError(
                f"`{self.name}` has weights of its own, which a plain keras.Model would never train. Compile it into "
                "a keras_epos.EmbeddingModel, or call `loss.adopt()` and train the variables of what it returns."
            )
        with keras.name_scope(self.name):
            terms = self.terms(*labels_and_embeddings(y_true, y_pred, self.dtype))
            return reduced(*per_anchor(terms, self.average_over), sample_weight, self.reduction)

    def call(self, y_true, y_pred):
        """One value per anchor, shape `(B,)`, whose mean over the counted anchors is the loss."""
        terms = self.terms(*labels_and_embeddings(y_true, y_pred, self.dtype))
        return per_anchor(terms, self.average_over)[0]

    def terms(self, labels, embeddings):
        """`Terms` of every anchor, from labels `(B,)` and float embeddings `(B, D)`."""
        embeddings = unit(embeddings)
        cosine = all_cosines(embeddings)

        def similarity(indices=None):
            if indices is None:
                return to_similarity(cosine, self.metric)
            # Only the selected rows are differentiated, not the B x B product: O(B D) on the way back.
            return row_similarity(embeddings, ops.take(embeddings, indices, axis=0), self.metric)

        return self._terms_of(labels, cosine, similarity, embeddings.shape[-1])

    def _terms_of(self, labels, cosine, similarity, dim):
        positive_mask, negative_mask = masks(labels, labels, ignore_label=self.ignore_label)
        valid = ops.logical_and(
            ops.any(positive_mask, axis=-1, keepdims=True), ops.any(negative_mask, axis=-1, keepdims=True)
        )
        positive_mask = ops.logical_and(positive_mask, valid)
        negative_mask = ops.logical_and(negative_mask, valid)
        positive, negative = self.select(ops.stop_gradient(cosine), positive_mask, negative_mask, dim)
        sides = []
        for selection, paired in ((positive, False), (negative, self.negatives.relative)):
            dense = paired and positive.indices is None
            chosen = selection.of(similarity()) if dense else similarity(selection.indices)
            sides.append(Side(chosen, selection.valid, paired))
        terms = self.formula(*sides, labels)
        if terms.valid is None:
            terms = terms._replace(valid=ops.cast(valid[:, 0], self.dtype))
        self.statistics = self._observed(ops.stop_gradient(cosine), positive, negative, valid, terms)
        return terms

    def select(self, cosine, positive_mask, negative_mask, dim):
        """`Selection` of the positives and of the negatives, on similarities without gradient."""
        positive = self.positives.select(cosine, positive_mask)
        return positive, self.select_negatives(cosine, positive, negative_mask, dim)

    def select_negatives(self, cosine, positive, negative_mask, dim):
        """`Selection` of the negatives, given that of the positives."""
        if not self.negatives.relative:
            return self.negatives.select(-cosine, negative_mask, dim=dim)
        threshold = ops.where(positive.valid, -positive.of(cosine), LOWEST)
        chosen = self.negatives.select(-cosine, negative_mask, threshold=threshold)
        return mining.Selection(chosen.indices, ops.logical_and(chosen.valid, positive.valid))

    def _observed(self, cosine, positive, negative, valid, terms):
        active = ops.cast(ops.stop_gradient(terms.active) > 0, cosine.dtype)
        return {
            "active_anchors": masked_mean(active, valid[:, 0]),
            "positive_similarity": masked_mean(positive.of(cosine), positive.valid),
            "negative_similarity": masked_mean(negative.of(cosine), negative.valid),
        }

    def pair_weights(self, labels, embeddings):
        """The loss seen as general pair weighting: the derivative by every similarity.

        Args:
            labels: Integers `(B,)` or `(B, 1)`.
            embeddings: Floats `(B, D)`.

        Returns:
            `(B, B)`: entry `[a, j]` is the derivative of the summed terms of anchor `a` by its cosine similarity
            to `j`, negative where the loss pulls, positive where it pushes.

        Reference: Wang et al. 2019, https://arxiv.org/abs/1904.06627.
        """
        labels, embeddings = labels_and_embeddings(labels, embeddings, self.dtype)
        embeddings = unit(embeddings)

        def total(cosine):
            def similarity(indices=None):
                chosen = cosine if indices is None else ops.take_along_axis(cosine, indices, axis=-1)
                return to_similarity(chosen, self.metric)

            return ops.sum(self._terms_of(labels, cosine, similarity, embeddings.shape[-1]).total)

        return gradient(total, all_cosines(embeddings))

    def get_config(self):
        return constructor_arguments(self)
