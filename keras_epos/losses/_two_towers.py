"""TwoTowerLoss: from the embeddings of two towers to the similarities of queries and documents, to a formula."""

from keras import ops

from keras_epos._gradient import gradient
from keras_epos._pairs import is_known, masked_max, masked_mean, products, share, unit
from keras_epos.losses._batch import at_least_one_row, known_rows
from keras_epos.losses._embedding_loss import EmbeddingLoss


class TwoTowerLoss(EmbeddingLoss):
    """Base of the losses over pairs of a query and its document, such as an image and its text.

    A row of the output is the query's embedding followed by that of its document: a model with two towers ends in
    `keras.layers.Concatenate()([query, document])`. Row `i` of one side is compared with all rows of the other side by
    cosine similarity `S_ij`. The pair itself is the one positive. Every other document of the batch is a negative,
    unless its label is the same: pairs of one label show the same thing, and are false negatives of each other. Where
    no such pairs are known give each row a label of its own.

    Args:
        average_over, ignore_label, reduction, name, dtype: See `EmbeddingLoss`.

    Call arguments:
        y_true: Integers `(B,)` or `(B, 1)`: what the pairs show.
        y_pred: `(B, 2 D)`, queries and documents side by side, `D` of 2 or more.
        sample_weight: Weights of the pairs, `(B,)` or `(B, 1)`, or `None`.

    Raises:
        ValueError: If the output has not an even number of dimensions, at least 4.
    """

    num_towers = 2
    statistic_names = ("valid_anchors", "active_anchors", "positive_similarity", "negative_similarity")

    def formula(self, similarity, own, other):
        """The loss on the similarities of queries and documents.

        Args:
            similarity: `(B, B)`, a row for each query.
            own: `(B, B)` booleans, the pair itself; none in a row that is ignored.
            other: `(B, B)` booleans, documents that do not belong to the query.

        Returns:
            `Terms`, of each pair.
        """
        raise NotImplementedError(f"{type(self).__name__} must define formula().")

    def accepted(self, y_true, y_pred):
        labels, embeddings = super().accepted(y_true, y_pred)
        if embeddings.shape[-1] % 2 or embeddings.shape[-1] < 4:
            raise ValueError(
                "`y_pred` must be the query's embedding followed by that of its document, `(batch, 2 * dim)` with a "
                f"dim of 2 or more. Received: shape {tuple(embeddings.shape)}. End the model in "
                "keras.layers.Concatenate()([query, document])."
            )
        return labels, embeddings

    def terms(self, labels, embeddings):
        return self._terms_of(labels, self._similarity(embeddings))

    def _similarity(self, embeddings):
        queries, documents = ops.split(embeddings, 2, axis=-1)
        return products(unit(queries), unit(documents))

    def _terms_of(self, labels, similarity):
        own = ops.eye(ops.shape(similarity)[0], dtype="bool")
        other = labels[:, None] != labels[None, :]
        if self.ignore_label is not None:
            known = is_known(labels, self.ignore_label)
            known = ops.logical_and(known[:, None], known[None, :])
            own, other = ops.logical_and(own, known), ops.logical_and(other, known)
        terms = self.formula(similarity, own, other)
        return terms._replace(statistics=self._observed(ops.stop_gradient(similarity), own, other, terms))

    def _observed(self, similarity, own, other, terms):
        active = ops.cast(ops.stop_gradient(terms.active) > 0, similarity.dtype)
        takes_part = ops.stop_gradient(terms.valid) > 0
        return {
            "valid_anchors": share(takes_part, similarity.dtype),
            "active_anchors": masked_mean(active, takes_part),
            "positive_similarity": masked_mean(similarity, own),
            "negative_similarity": masked_mean(masked_max(similarity, other), ops.any(other, axis=-1)),
        }

    def pair_weights(self, labels, embeddings):
        """The loss seen as general pair weighting, over queries and documents.

        Args:
            labels: Integers `(B,)` or `(B, 1)`.
            embeddings: Floats `(B, 2 D)`.

        Returns:
            `(B, B)`: entry `[i, j]` is the derivative of the summed terms of all pairs by the cosine similarity of
            query `i` to document `j`: negative where the loss pulls, positive where it pushes.
        """
        labels, embeddings = self.accepted(labels, embeddings)
        size = ops.shape(embeddings)[0]
        labels, rows = at_least_one_row(labels, known_rows(labels, embeddings, self.ignore_label))
        weights = gradient(lambda similarity: ops.sum(self._terms_of(labels, similarity).total), self._similarity(rows))
        return weights[:size, :size]
