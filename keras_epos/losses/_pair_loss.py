"""PairLoss: from labels and embeddings to pairs, through mining, to the formula of a loss."""

from typing import NamedTuple

from keras import ops

from keras_epos import mining
from keras_epos import same_class as same_classes
from keras_epos._gradient import gradient
from keras_epos._pairs import LOWEST, masked_mean, masks, products, row_similarity, share, to_similarity, unit
from keras_epos.losses._batch import at_least_one_row, known_rows
from keras_epos.losses._embedding_loss import EmbeddingLoss

METRICS = ("cosine", "euclidean", "squared_euclidean")


class Batch(NamedTuple):
    """What a formula may ask for besides the two selections.

    Attributes:
        labels: `(A,)` integers, or rows `(A, L)`.
        products: `(A, R)` inner products of the anchors with all references, cosines unless the loss takes raw
            embeddings. The anchors are the first `A` references; others come from a memory.
        dim: Number of dimensions of the embeddings.
    """

    labels: object
    products: object
    dim: int


class Memory(NamedTuple):
    """References beyond the batch, `M` of them, without gradient.

    Attributes:
        embeddings: `(M, D)`.
        positives, negatives: Booleans `(A, M)`.
        distinct: Booleans `(A, A)`, false where two rows of the batch are the same sample; `None` if none are.
    """

    embeddings: object
    positives: object
    negatives: object
    distinct: object = None


class PairLoss(EmbeddingLoss):
    """Base of the losses over pairs of a batch. Subclasses define `formula`; everything else is here.

    Anchors are the rows of the batch; references are the same rows. Embeddings are divided by their norm and
    compared in float32 whatever the dtype policy of the model. Labels stay integers, exact in any dtype. An
    anchor without a valid positive or without a valid negative adds exactly 0 to the loss and to the gradient
    and is left out of the mean.

    Args:
        positives: Which positives count: `"all"`, `"easy"`, `"hard"`, `"random"`, or a strategy object.
        negatives: Which negatives count: `"all"`, `"hard"`, `"semi_hard"`, `"distance_weighted"`, `"random"`,
            `"easy"`, or a strategy object.
        same_class: What makes two samples positives of each other: `"equal"` labels, `"share_a_label"` for rows of
            zeros and ones, or a function, see `keras_epos.same_class`.
        average_over: `"valid"`: the mean is over all terms of the anchors that have positives and negatives;
            `"active"`: only over the terms with a gradient, so the step does not fade as terms come to rest.
        ignore_label: Label of samples that are neither anchor nor reference, or `None`.
        reduction, name, dtype: See `EmbeddingLoss`.

    Call arguments:
        y_true: Integer labels of shape `(B,)` or `(B, 1)`, any integer dtype; rows `(B, L)` if `same_class` takes
            them.
        y_pred: Embeddings of shape `(B, D)`, any float dtype.
        sample_weight: Weights of the anchors, shape `(B,)` or `(B, 1)`, or `None`.

    Raises:
        ValueError: If the labels are not integers, the shapes do not fit, or an argument is out of range.

    Examples:
        A loss of one's own, here the squares of all cosines of negatives and of what positives lack to 1:

        >>> class Squares(keras_epos.PairLoss):
        ...     def formula(self, positives, negatives, batch):
        ...         pull = keras.ops.where(positives.mask, (1 - positives.similarity) ** 2, 0)
        ...         push = keras.ops.where(negatives.mask, negatives.similarity**2, 0)
        ...         total = keras.ops.sum(pull, axis=-1) + keras.ops.sum(push, axis=-1)
        ...         pairs = keras.ops.sum(positives.mask, axis=-1) + keras.ops.sum(negatives.mask, axis=-1)
        ...         return keras_epos.losses.Terms(total, valid=pairs, active=pairs)
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> print(f"{Squares(positives='easy')(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.287
    """

    metric = "cosine"
    # Whether rows are divided by their norm. Mining compares by cosine either way.
    normalize = True
    # Whether the formula has a term for each positive, so that each positive can have its own negative.
    has_triplets = False

    def __init__(self, positives="all", negatives="all", average_over="valid", same_class="equal", **shared):
        super().__init__(average_over=average_over, **shared)
        self.positives = mining.get(positives, "positives")
        self.negatives = mining.get(negatives, "negatives")
        self._refuse_senseless_strategies()
        function = same_classes.get(same_class)
        self.same_class = same_class if isinstance(same_class, str) else function

    @property
    def same_class_function(self):
        """The function that `same_class` names, or is."""
        return same_classes.get(self.same_class)

    @property
    def takes_label_rows(self):
        return self.same_class != "equal"

    @property
    def needs_direction(self):
        return self.normalize

    def adopt(self, embedding_dim=None):
        return super().adopt(embedding_dim) + self.positives.adopt() + self.negatives.adopt()

    def _refuse_senseless_strategies(self):
        if "positives" not in self.positives.sides:
            raise ValueError(
                "`positives` must be chosen by a strategy that needs no positive to refer to: all, easy, hard or "
                f"random. Received: positives={self.positives}, which is for negatives."
            )
        if self.negatives.relative and not self.has_triplets and self.positives.count != 1:
            raise ValueError(
                f"`negatives={self.negatives}` must go with one positive per anchor in {type(self).__name__}, "
                f'such as positives="easy". Received: positives={self.positives}'
            )

    def formula(self, positives, negatives, batch):
        """The loss on what was selected.

        Args:
            positives, negatives: A `keras_epos.mining.Selection` each, with similarities.
            batch: `Batch`.

        Returns:
            `keras_epos.losses.Terms`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define formula().")

    def prepared(self, embeddings):
        """The rows that are compared, `(B, D)`."""
        return unit(embeddings) if self.normalize else embeddings

    def terms(self, labels, embeddings, memory=None):
        """`Terms` of every anchor, from labels `(B,)` and float embeddings `(B, D)`.

        Args:
            labels: Integers `(B,)`, or rows `(B, L)`.
            embeddings: Floats `(B, D)`.
            memory: `Memory`, further references, or `None`.
        """
        rows = references = self.prepared(embeddings)
        if memory is not None:
            references = ops.concatenate([rows, self.prepared(memory.embeddings)], axis=0)
        all_products = products(rows, references)

        def similarity(indices=None):
            if indices is None:
                return self.similarity(all_products, rows, references)
            # Only the selected rows are differentiated, not the B x B product: O(B D) on the way back.
            return self.row_similarity(rows, ops.take(references, indices, axis=0))

        cosine = all_products if self.normalize else products(unit(rows), unit(references))
        return self._terms_of(labels, ops.stop_gradient(cosine), all_products, similarity, rows.shape[-1], memory)

    def similarity(self, products, rows, references):
        """`(A, R)` in the metric of the loss, from the inner products of `rows` and `references`."""
        return to_similarity(products, self.metric)

    def row_similarity(self, rows, chosen):
        """Similarity of each row `(A, D)` to its own chosen references `(A, K, D)`: `(A, K)`."""
        return row_similarity(rows, chosen, self.metric)

    def _terms_of(self, labels, cosine, all_products, similarity, dim, memory=None):
        """From labels to masks, from these to what is chosen, and from that to the formula.

        Args:
            labels: Integers `(A,)`, or rows `(A, L)`.
            cosine: `(A, R)` without gradient, what strategies compare.
            all_products: `(A, R)` inner products of the anchors with all references.
            similarity: Function of indices `(A, K)`, or of nothing for all, to similarities in the metric of the loss.
                It is the one thing that is differentiated: by the embeddings in training, by the similarities
                themselves in `pair_weights`.
            dim: Number of dimensions.
            memory: `Memory` or `None`.

        Returns:
            `Terms` with statistics.
        """
        positive_mask, negative_mask = masks(
            labels, labels, ignore_label=self.ignore_label, same_class=self.same_class_function
        )
        if memory is not None:
            if memory.distinct is not None:
                positive_mask = ops.logical_and(positive_mask, memory.distinct)
            positive_mask = ops.concatenate([positive_mask, memory.positives], axis=-1)
            negative_mask = ops.concatenate([negative_mask, memory.negatives], axis=-1)
        valid = ops.logical_and(
            ops.any(positive_mask, axis=-1, keepdims=True), ops.any(negative_mask, axis=-1, keepdims=True)
        )
        positive_mask = ops.logical_and(positive_mask, valid)
        negative_mask = ops.logical_and(negative_mask, valid)
        positive, negative = self.select(cosine, positive_mask, negative_mask, dim)
        sides = []
        for selection, paired in ((positive, False), (negative, self.negatives.relative)):
            dense = paired and positive.indices is None
            chosen = selection.of(similarity()) if dense else similarity(selection.indices)
            sides.append(selection._replace(similarity=chosen, paired=paired))
        terms = self.formula(*sides, Batch(labels, all_products, dim))
        if terms.valid is None:
            terms = terms._replace(valid=ops.cast(valid[:, 0], self.dtype))
        return terms._replace(statistics=self._observed(cosine, positive, negative, valid, terms))

    def select(self, cosine, positive_mask, negative_mask, dim):
        """`Selection` of the positives and of the negatives, on similarities without gradient."""
        positive = self.positives.select(cosine, positive_mask, "positives")
        return positive, self.select_negatives(cosine, positive, negative_mask, dim)

    def select_negatives(self, cosine, positive, negative_mask, dim):
        """`Selection` of the negatives, given that of the positives."""
        if not self.negatives.relative:
            return self.negatives.select(-cosine, negative_mask, "negatives", dim=dim)
        threshold = ops.where(positive.mask, -positive.of(cosine), LOWEST)
        chosen = self.negatives.select(-cosine, negative_mask, "negatives", threshold=threshold)
        return mining.Selection(chosen.indices, ops.logical_and(chosen.mask, positive.mask))

    def _observed(self, cosine, positive, negative, valid, terms):
        active = ops.cast(ops.stop_gradient(terms.active) > 0, cosine.dtype)
        return {
            "valid_anchors": share(valid, cosine.dtype),
            "active_anchors": masked_mean(active, valid[:, 0]),
            "positive_similarity": masked_mean(positive.of(cosine), positive.mask),
            "negative_similarity": masked_mean(negative.of(cosine), negative.mask),
        }

    def pair_weights(self, labels, embeddings):
        """The loss seen as general pair weighting: the derivative by every similarity.

        Args:
            labels: Integers `(B,)` or `(B, 1)`.
            embeddings: Floats `(B, D)`.

        Returns:
            `(B, B)`: entry `[a, j]` is the derivative of the summed terms of all anchors by the cosine similarity of
            `a` to `j` (the inner product, in losses on raw embeddings, at fixed norms): negative where the loss
            pulls, positive where it pushes.

        Reference: Wang et al. 2019, https://arxiv.org/abs/1904.06627.
        """
        labels, embeddings = self.accepted(labels, embeddings)
        self.alarm(labels, embeddings)
        size = ops.shape(embeddings)[0]
        labels, rows = at_least_one_row(labels, known_rows(labels, embeddings, self.ignore_label))
        rows = self.prepared(rows)
        cosine = products(unit(rows), unit(rows))

        def total(all_products):
            dense = self.similarity(all_products, rows, rows)

            def similarity(indices=None):
                return dense if indices is None else ops.take_along_axis(dense, indices, axis=-1)

            return ops.sum(self._terms_of(labels, cosine, all_products, similarity, rows.shape[-1]).total)

        return gradient(total, products(rows, rows))[:size, :size]
