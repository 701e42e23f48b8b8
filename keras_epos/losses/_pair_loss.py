"""PairLoss: from labels and embeddings to pairs, through mining, to the formula of a loss."""

from functools import partial

from keras import ops

from keras_epos import mining
from keras_epos import same_class as same_classes
from keras_epos._all_products import products_of_all
from keras_epos._compiler import compiled_if_quicker, is_on_cpu
from keras_epos._gradient import gradient
from keras_epos._pairs import (
    LOWEST,
    masked_mean,
    masks,
    products,
    row_similarity,
    share,
    to_similarity,
    unit,
)
from keras_epos.losses._batch import at_least_one_row, known_rows
from keras_epos.losses._each_positive import terms_of_each
from keras_epos.losses._embedding_loss import EmbeddingLoss
from keras_epos.losses._pair_parts import Batch, Found
from keras_epos.losses._strips import by_strips
from keras_epos.losses._tiles import found_by_tiles

METRICS = ("cosine", "euclidean", "squared_euclidean")


# Of more pairs than these, those of 1,024 rows, a matrix is not made where few of the pairs are chosen.
LARGE = 2**20
# No loss makes a matrix of more pairs than these, those of 32,768 rows: 4 GB each, of which it needs several.
TOO_LARGE = 2**30


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
        """The loss on what was selected, of operations that XLA compiles.

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

        def similarity(indices=None):
            if indices is None:
                return self.similarity(batch.products, rows, references)
            # Only the selected rows are differentiated, not the B x B product: O(B D) on the way back.
            return self.row_similarity(rows, ops.take(references, indices, axis=0))

        num_pairs = _num_pairs(rows, references)
        if self._is_mined_in_strips(num_pairs):
            batch = Batch(labels, rows.shape[-1], lambda: products(rows, references))
            find = self._found_in_tiles if self._is_mined_in_tiles(rows, memory) else self._found_in_strips
            compared = rows, references
        else:
            self._refuse_too_many(num_pairs, rows, references)
            all_products = products_of_all(rows) if memory is None else products(rows, references)
            batch = Batch(labels, rows.shape[-1], lambda: all_products)
            cosine = all_products if self.normalize else products(unit(rows), unit(references))
            find = partial(self._found, dim=rows.shape[-1])
            compared = (cosine,)
        find = partial(find, memory=memory)
        find = partial(compiled_if_quicker, find) if self._may_mine_by_xla() else find
        found = find(labels, *map(ops.stop_gradient, compared))
        return self._terms_of(found, similarity, batch)

    def similarity(self, products, rows, references):
        """`(A, R)` in the metric of the loss, from the inner products of `rows` and `references`."""
        return to_similarity(products, self.metric)

    def row_similarity(self, rows, chosen):
        """Similarity of each row `(A, D)` to its own chosen references `(A, K, D)`: `(A, K)`."""
        return row_similarity(rows, chosen, self.metric)

    def _is_mined_in_strips(self, num_pairs):
        strategies = (self.positives, self.negatives)
        return all(one.is_by_anchor for one in strategies) and (num_pairs is None or num_pairs > LARGE)

    def _is_mined_in_tiles(self, rows, memory):
        """Whether what is mined in strips can be mined in tiles, which are small for an accelerator.

        In a TensorFlow graph the number of rows must be known: it is small as a rule where it is not.
        """
        strategies = (self.positives, self.negatives)
        return (
            memory is None
            and rows.shape[0] is not None
            and self.ignore_label is None
            and self.same_class_function is same_classes.equal
            and type(self).select is PairLoss.select
            and all(one.has_preference and one.count == 1 for one in strategies)
            and is_on_cpu(rows)
        )

    def _may_mine_by_xla(self):
        """Whether mining may be compiled where the rest is not: it is worth it where few pairs are chosen.

        Not where they are drawn, as XLA draws other numbers, nor with a function that may do what XLA cannot.
        """
        chooses = all(one.has_preference for one in (self.positives, self.negatives))
        return chooses and self.same_class_function in same_classes.SAME_CLASS.values()

    def _refuse_too_many(self, num_pairs, rows, references):
        if num_pairs is not None and num_pairs > TOO_LARGE:
            raise ValueError(
                f"`y_pred` must make at most {TOO_LARGE:,} pairs with all references, since {type(self).__name__} with "
                f"positives={self.positives} and negatives={self.negatives} holds all of them in memory. Received: "
                f"{rows.shape[0]:,} rows and {references.shape[0]:,} references, {num_pairs / 2**28:.0f} GB a matrix. "
                'Choose pairs, by positives="easy" with negatives="semi_hard" or "hard", or take smaller batches.'
            )

    def _found(self, labels, cosine, dim, memory=None, positions=None):
        """`Found` of the anchors at `positions`, or of all.

        Args:
            labels: Integers `(B,)`, or rows `(B, L)`.
            cosine: `(A, R)` without gradient, what strategies compare.
            dim: Number of dimensions.
            memory: `Memory` or `None`.
            positions: Integers `(A,)`, which of the references the anchors are, or `None` for the first ones.
        """
        positive_mask, negative_mask = masks(
            labels if positions is None else ops.take(labels, positions, axis=0),
            labels,
            0 if positions is None else positions,
            self.ignore_label,
            self.same_class_function,
        )
        if memory is not None:
            positives, negatives, distinct = memory.masks(positions)
            if distinct is not None:
                positive_mask = ops.logical_and(positive_mask, distinct)
            positive_mask = ops.concatenate([positive_mask, positives], axis=-1)
            negative_mask = ops.concatenate([negative_mask, negatives], axis=-1)
        valid = ops.logical_and(
            ops.any(positive_mask, axis=-1, keepdims=True), ops.any(negative_mask, axis=-1, keepdims=True)
        )
        if self.negatives.relative and self.positives.count is None:
            positives = mining.Selection(None, ops.logical_and(positive_mask, valid), cosine)
            return Found(positives, None, valid, partial(self.select_negatives, cosine, mask=negative_mask))
        # What was chosen for an anchor that is not valid is dropped after the choice: most choices are few.
        chosen = self.select(cosine, positive_mask, negative_mask, dim)
        sides = (side._replace(mask=ops.logical_and(side.mask, valid), similarity=side.of(cosine)) for side in chosen)
        return Found(*sides, valid)

    def _found_in_strips(self, labels, rows, references, memory):
        """As `_found`, without a matrix of all pairs."""
        directions = references if self.normalize else unit(references)

        def of_strip(positions):
            cosine = products(ops.take(directions, positions, axis=0), directions)
            found = self._found(labels, cosine, rows.shape[-1], memory, positions)
            sides = [
                (ops.cast(side.indices, "int32"), side.mask, side.similarity)
                for side in (found.positives, found.negatives)
            ]
            return *sides[0], *sides[1], found.valid

        dtypes = ("int32", "bool", self.dtype)
        found = by_strips(of_strip, ops.shape(rows)[0], (*dtypes, *dtypes, "bool"))
        return Found(mining.Selection(*found[:3]), mining.Selection(*found[3:6]), found[6])

    def _found_in_tiles(self, labels, rows, references, memory):
        """As `_found_in_strips`, with half of the cosines."""
        directions = references if self.normalize else unit(references)
        return found_by_tiles(labels, directions, self.positives, self.negatives)

    def _terms_of(self, found, similarity, batch):
        """From what was found to the formula.

        Args:
            found: `Found`.
            similarity: Function of indices `(A, K)`, or of nothing for all, to similarities in the metric of the loss.
                It is the one thing that is differentiated: by the embeddings in training, by the similarities
                themselves in `pair_weights`.
            batch: `Batch`.

        Returns:
            `Terms` with statistics.
        """
        if found.negatives is None:
            terms, (far, number) = terms_of_each(
                lambda positives, negatives: self.formula(positives, negatives, batch),
                found.choose,
                found.positives.mask,
                similarity(),
                found.positives.similarity,
            )
            negative_similarity = ops.sum(far) / ops.maximum(ops.sum(number), 1)
        else:
            positives, negatives = (
                side._replace(similarity=similarity(side.indices)) for side in (found.positives, found.negatives)
            )
            terms = self.formula(positives, negatives._replace(paired=self.negatives.relative), batch)
            negative_similarity = masked_mean(found.negatives.similarity, found.negatives.mask)
        if terms.valid is None:
            terms = terms._replace(valid=ops.cast(found.valid[:, 0], self.dtype))
        active = ops.cast(ops.stop_gradient(terms.active) > 0, self.dtype)
        statistics = {
            "valid_anchors": share(found.valid, self.dtype),
            "active_anchors": masked_mean(active, found.valid[:, 0]),
            "positive_similarity": masked_mean(found.positives.similarity, found.positives.mask),
            "negative_similarity": negative_similarity,
        }
        return terms._replace(statistics=statistics)

    def select(self, cosine, positive_mask, negative_mask, dim):
        """`Selection` of the positives and of the negatives, on similarities without gradient."""
        positive = self.positives.select(cosine, positive_mask, "positives")
        return positive, self.select_negatives(cosine, positive, negative_mask, dim)

    def select_negatives(self, cosine, positive, mask, dim=None):
        """`Selection` of the negatives, given that of the positives."""
        if not self.negatives.relative:
            return self.negatives.select(-cosine, mask, "negatives", dim=dim)
        threshold = ops.where(positive.mask, -positive.of(cosine), LOWEST)
        chosen = self.negatives.select(-cosine, mask, "negatives", threshold=threshold)
        return mining.Selection(chosen.indices, ops.logical_and(chosen.mask, positive.mask))

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
        found = self._found(labels, products(unit(rows), unit(rows)), rows.shape[-1])

        def total(all_products):
            dense = self.similarity(all_products, rows, rows)

            def similarity(indices=None):
                return dense if indices is None else ops.take_along_axis(dense, indices, axis=-1)

            batch = Batch(labels, rows.shape[-1], lambda: all_products)
            return ops.sum(self._terms_of(found, similarity, batch).total)

        return gradient(total, products(rows, rows))[:size, :size]


def _num_pairs(rows, references):
    """Pairs of `rows` and `references`, or `None` in a TensorFlow graph that does not know their number."""
    sizes = rows.shape[0], references.shape[0]
    return None if None in sizes else sizes[0] * sizes[1]
