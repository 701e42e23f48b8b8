"""A loss on several prefixes of the embeddings."""

import keras
from keras import ops

from keras_epos._checks import integer
from keras_epos._config import revived
from keras_epos.losses._embedding_loss import EmbeddingLoss
from keras_epos.losses._names import get, registered
from keras_epos.losses._terms import LossResult
from keras_epos.losses._weighted_sum import WeightedSum


@registered()
class Matryoshka(EmbeddingLoss):
    """Makes the first dimensions of an embedding an embedding of their own, so that it may be cut short after training.

        loss = loss of the whole embedding + sum over dims d of the loss of its first d dimensions

    Every prefix is divided by its own norm where the loss does so. Losses with proxies compare it with the same prefix
    of the proxies, a `CrossBatchMemory` with that of the embeddings it holds, losses of two towers take the prefix of
    each tower. An `EmbeddingModel` logs the loss of each prefix as `"dim_64"`, and of the whole as `"whole"`.
    `keras_epos.retrieval.recall_by_dim` tells what each prefix finds. Cut embeddings go by cosine similarity, or must
    be divided by their norm again.

    - Needs: what `loss` needs.
    - Choose it when: a gallery must be small, or its size is not settled yet.
    - See also: `keras_epos.retrieval.recall_by_dim`.

    Args:
        loss: A loss of this library or its name. Losses that look at lengths (`AdaFaceLoss`, `MagFaceLoss`) and sums
            are refused: put `Matryoshka` into a `WeightedSum`.
        dims: Integers of at least 2, less than the embedding has.
        name: Name in the logs.

    Raises:
        ValueError: If a prefix is not shorter than the embedding, or an argument is out of range.

    Reference: Kusupati et al. 2022, https://arxiv.org/abs/2205.13147.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.6, 0.0, 0.8], [0.0, 0.6, 0.8]])
        >>> loss = keras_epos.Matryoshka(keras_epos.NTXentLoss(0.1), dims=(2,))
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        4.971
    """

    def __init__(self, loss, dims, name=None):
        loss = revived(loss, keras.losses.Loss)
        loss = get(loss) if isinstance(loss, str) else loss
        if not isinstance(loss, EmbeddingLoss) or isinstance(loss, (WeightedSum, Matryoshka)):
            raise ValueError(
                f"`loss` must be one loss of keras_epos. Received: loss={loss!r}. Put Matryoshka(loss, dims) into the "
                "WeightedSum, for each loss that is to know prefixes."
            )
        if not loss.takes_prefixes:
            raise ValueError(
                "`loss` must not look at the length of embeddings, which a prefix does not have. Received: "
                f"loss={loss.name!r}"
            )
        if not isinstance(dims, (tuple, list)) or not dims:
            raise ValueError(f"`dims` must be a tuple of integers of at least 2. Received: dims={dims!r}")
        super().__init__(
            average_over=loss.average_over,
            ignore_label=loss.ignore_label,
            reduction=loss.reduction,
            name=name,
            dtype=loss.dtype,
        )
        self.loss = loss
        self.dims = sorted({integer("dims", dim, 2) for dim in dims})

    def get_config(self):
        return {"loss": keras.saving.serialize_keras_object(self.loss), "dims": self.dims, "name": self.name}

    @property
    def needs_adoption(self):
        return self.loss.needs_adoption

    @property
    def takes_label_rows(self):
        return self.loss.takes_label_rows

    @property
    def statistic_names(self):
        return ("valid_anchors", *(f"dim_{dim}" for dim in self.dims), "whole")

    def adopt(self, embedding_dim=None):
        return self.loss.adopt(embedding_dim)

    def sampled_losses(self):
        return self.loss.sampled_losses()

    def result(self, y_true, y_pred, training=True):
        _, embeddings = self.loss.accepted(y_true, y_pred)
        towers = ops.split(embeddings, self.loss.num_towers, axis=-1)
        if self.dims[-1] >= towers[0].shape[-1]:
            raise ValueError(
                f"`dims` must be less than the {towers[0].shape[-1]} dimensions of an embedding, whose whole counts "
                f"anyway. Received: dims={self.dims}"
            )
        parts = {f"dim_{dim}": (1.0, self._result_of_prefix(y_true, towers, dim, training)) for dim in self.dims}
        # Last, as a memory keeps these.
        parts["whole"] = 1.0, self.loss.result(y_true, embeddings, training)
        values = sum(part.values for _, part in parts.values())
        valid = ops.max(ops.stack([part.statistics["valid_anchors"] for _, part in parts.values()]))
        return LossResult(values, None, {"valid_anchors": valid}, parts)

    def _result_of_prefix(self, y_true, towers, dim, training):
        """`LossResult` of the loss, with all that it has learned, on the first `dim` dimensions."""
        # The same variables; copy.copy would make new ones from the configuration.
        loss = object.__new__(type(self.loss))
        vars(loss).update(vars(self.loss), prefix_dim=dim)
        return loss.result(y_true, ops.concatenate([tower[:, :dim] for tower in towers], axis=-1), training)
