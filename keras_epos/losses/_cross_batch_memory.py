"""Cross-batch memory: embeddings of earlier batches as further references."""

import numpy as np
from keras import ops

from keras_epos._checks import integer
from keras_epos._config import revived
from keras_epos._labels import held_integer
from keras_epos._pairs import is_known, masks
from keras_epos.losses._batch import at_least_one_row, known_rows
from keras_epos.losses._embedding_loss import EmbeddingLoss
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._pair_parts import Memory


@registered()
class CrossBatchMemory(EmbeddingLoss):
    """Adds the embeddings of earlier batches to the references of a pair loss.

    The anchors are those of the batch, the references are the batch and the last `size` embeddings of earlier
    steps, as they were then and without gradient. So small batches see many hard pairs. Every pair loss and every
    strategy works; memory and time grow with batch size times `size`.

    The memory is a ring of fixed shape that an `EmbeddingModel` saves and restores with its weights; it is filled
    by training steps only, and evaluation looks at the batch alone. Rows that are not finite, or to be ignored, are not
    kept.

    **An anchor's own earlier embedding must not become its positive**: it is the nearest one of all, and pulling
    towards it teaches nothing. So positives are told apart by the identity of the sample, and `y_true` is
    `(B, 2)`: class label and sample id, which `keras_epos.data.balanced_batches(..., with_ids=True)` yields. With
    `memory_positives=False` the memory gives negatives alone and plain labels are enough. Ids, wherever they are given,
    also keep a sample that stands in a batch twice from being its own positive.

    - Needs: `y_true` of label and sample id, from `balanced_batches(..., with_ids=True)`, and an `EmbeddingModel`.
    - Choose it when: memory allows only small batches.
    - See also: `keras_epos.data.balanced_batches`.

    Args:
        loss: A `PairLoss`. Its reduction and its mean hold.
        size: Number of embeddings remembered.
        warm_up_steps: Training steps before the memory is looked at. Embeddings of a young network drift fast; the
            paper waits 1,000 steps.
        memory_positives: Whether positives may come from the memory.
        label_dim: Number of labels `L` when labels are rows `(B, L)`; ids then stand in column `L`.
        name: Name in the logs.

    Call arguments:
        y_true: Integers `(B, 2)`, label and id; `(B, L + 1)` with `label_dim`. Without ids `(B,)`, where allowed.
        y_pred: Embeddings `(B, D)`.
        sample_weight: Weights of the anchors, `(B,)`, or `None`.

    Raises:
        ValueError: If ids are missing in training, or an argument is out of range.

    Reference: Wang et al. 2020, https://arxiv.org/abs/1912.06798.

    Examples:
        >>> loss = keras_epos.CrossBatchMemory(keras_epos.ContrastiveLoss(), size=64, warm_up_steps=0)
        >>> model = keras_epos.EmbeddingModel(backbone, embedding_dim=8)
        >>> model.compile("adam", loss=loss)
        >>> history = model.fit(keras_epos.data.balanced_batches(images, labels, 4, 2, with_ids=True), verbose=0)
    """

    needs_adoption = True
    takes_label_rows = True

    def __init__(self, loss, size, *, warm_up_steps=0, memory_positives=True, label_dim=None, name=None):
        loss = revived(loss, PairLoss)
        if not isinstance(loss, PairLoss):
            raise ValueError(f"`loss` must be a keras_epos pair loss. Received: loss={loss!r}")
        size, warm_up_steps = integer("size", size, 1), integer("warm_up_steps", warm_up_steps, 0)
        super().__init__(average_over=loss.average_over, reduction=loss.reduction, name=name, dtype=loss.dtype)
        self.loss = loss
        self.size = size
        self.warm_up_steps = warm_up_steps
        self.memory_positives = memory_positives
        self.label_dim = label_dim

    @property
    def statistic_names(self):
        return (*self.loss.statistic_names, "memory_filled")

    def adopt(self, embedding_dim=None):
        return super().adopt(embedding_dim) + self.loss.adopt(embedding_dim)

    def build(self, embedding_dim):
        if embedding_dim is None:
            raise ValueError("`embedding_dim` must be the number of dimensions of the embeddings. Received: None")
        # What the backend calls a long integer: JAX has none unless it was told so.
        long = held_integer(np.dtype("int64"))
        label_shape = () if self.label_dim is None else (self.label_dim,)

        def state(name, shape, dtype):
            return self._layer.add_weight(
                shape=shape,
                dtype=dtype,
                initializer="zeros",
                trainable=False,
                aggregation="only_first_replica",
                name=name,
            )

        self._embeddings = state("embeddings", (self.size, embedding_dim), self.dtype)
        self._labels = state("labels", (self.size, *label_shape), long)
        self._ids = state("ids", (self.size,), long)
        self._is_filled = state("is_filled", (self.size,), "int32")
        self._next_slot = state("next_slot", (), "int32")
        self._steps = state("steps", (), "int32")

    @property
    def needs_direction(self):
        return self.loss.needs_direction

    def result(self, y_true, y_pred, training=True):
        labels, embeddings = self.accepted(y_true, y_pred)
        labels, ids = self._split(labels, training)
        embeddings = known_rows(labels, embeddings, self.loss.ignore_label)

        def terms(filled_labels, filled):
            if ids is None and not training:
                return self.loss.terms(filled_labels, filled)
            filled_ids = None if ids is None else at_least_one_row(ids, embeddings)[0]
            return self.loss.terms(filled_labels, filled, self._memory(filled_labels, filled_ids, training))

        result = self.loss.of_batch(labels, embeddings, terms, training)
        # Of a prefix nothing is kept: the whole embedding is, and comes last.
        if training and self.prefix_dim is None:
            self._remember(labels, ids, ops.stop_gradient(embeddings))
        filled = ops.mean(ops.cast(self._is_filled, self.dtype))
        return result._replace(statistics={**result.statistics, "memory_filled": filled})

    def _split(self, labels, training):
        """Labels and ids, the latter `None` if there are none and none are needed."""
        label_rank = 1 if self.label_dim is None else 2
        with_ids = len(labels.shape) == 2 and labels.shape[1] == (self.label_dim or 1) + 1
        if with_ids:
            return (labels[:, 0] if label_rank == 1 else labels[:, :-1]), labels[:, -1]
        if len(labels.shape) != label_rank or (label_rank == 2 and labels.shape[1] != self.label_dim):
            wanted = "(batch, 2)" if label_rank == 1 else f"(batch, {self.label_dim + 1})"
            raise ValueError(
                f"`y_true` must be labels and sample ids of shape {wanted}. Received: shape {tuple(labels.shape)}"
            )
        if training and self.memory_positives:
            raise ValueError(
                "`y_true` must hold sample ids beside the labels, so that no anchor is pulled to its own earlier "
                f"embedding. Received: shape {tuple(labels.shape)}. Pass with_ids=True to balanced_batches, stack "
                "labels and ids as the columns of y_true, or take negatives alone by memory_positives=False."
            )
        return labels, None

    def _memory(self, labels, ids, training):
        # Evaluation looks at the batch alone, in which a sample may stand twice all the same: one row, never usable.
        size = self.size if training else 1
        stored, stored_ids = (ops.convert_to_tensor(part)[:size] for part in (self._labels, self._ids))
        is_in_use = ops.logical_and(training, ops.convert_to_tensor(self._steps) >= self.warm_up_steps)
        usable = ops.logical_and(ops.convert_to_tensor(self._is_filled)[:size] > 0, is_in_use)[None, :]
        all_ids = None if ids is None else ops.cast(ids, self._ids.dtype)

        def of_anchors(positions):
            def chosen(part):
                return part if positions is None else ops.take(part, positions, axis=0)

            positives, negatives = masks(
                ops.cast(chosen(labels), self._labels.dtype),
                stored,
                offset=None,
                ignore_label=self.loss.ignore_label,
                same_class=self.loss.same_class_function,
            )
            distinct = None
            if all_ids is not None:
                own = chosen(all_ids)[:, None]
                positives = ops.logical_and(positives, own != stored_ids[None, :])
                distinct = own != all_ids[None, :]
            if not self.memory_positives:
                positives = ops.zeros_like(positives)
            return ops.logical_and(positives, usable), ops.logical_and(negatives, usable), distinct

        return Memory(ops.stop_gradient(ops.convert_to_tensor(self._embeddings)[:size, : self.prefix_dim]), of_anchors)

    def _remember(self, labels, ids, embeddings):
        embeddings, labels = embeddings[-self.size :], labels[-self.size :]
        ids = ops.zeros_like(labels[..., 0] if len(labels.shape) == 2 else labels) if ids is None else ids[-self.size :]
        number = ops.shape(embeddings)[0]
        first = ops.convert_to_tensor(self._next_slot)
        slots = ((first + ops.arange(number, dtype="int32")) % self.size)[:, None]
        is_usable = ops.all(ops.isfinite(embeddings), axis=-1)
        # A row that is not finite would turn every later gradient to NaN, however it is masked.
        embeddings = ops.where(is_usable[:, None], embeddings, ops.zeros_like(embeddings))
        if self.loss.ignore_label is not None:
            is_usable = ops.logical_and(is_usable, is_known(labels, self.loss.ignore_label))
        for variable, rows in (
            (self._embeddings, embeddings),
            (self._labels, labels),
            (self._ids, ids),
            (self._is_filled, is_usable),
        ):
            variable.assign(ops.scatter_update(variable, slots, ops.cast(rows, variable.dtype)))
        self._next_slot.assign((first + number) % self.size)
        self._steps.assign(ops.convert_to_tensor(self._steps) + 1)
