"""A weighted sum of losses."""

import inspect
import types

import keras
from keras import ops

from keras_epos._config import revived
from keras_epos.losses._embedding_loss import EmbeddingLoss
from keras_epos.losses._names import of_name, registered
from keras_epos.losses._terms import LossResult

# Names that the logs have already.
TAKEN = ("loss", "valid_anchors")


@registered()
class WeightedSum(EmbeddingLoss):
    """Adds up losses on the same output. An `EmbeddingModel` logs each of them under its name.

        keras_epos.WeightedSum(
            {"pairs": keras_epos.MultiSimilarityLoss(), "spread": keras_epos.SpreadOutPenalty()}, {"spread": 0.1}
        )

    Every loss keeps its own strategies, labels to ignore and mean; the reduction is that of the sum. Losses of Keras
    have a value for every sample, and see labels and output as they do in a plain model, in the dtype of the others:

        keras_epos.WeightedSum(
            {"triplets": "triplet", "classes": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
        )

    A sum inside a sum becomes part of the outer one: `"outer"` of `"inner"` is called `"outer_inner"`.

    Args:
        losses: Dictionary of name to loss: one of this library or of Keras, the name of one, or a function
            `(y_true, y_pred)` that returns a value for each sample. The names appear in the logs, with values before
            weighting.
        weights: Dictionary of name to number; 1 for names that are not in it.
        reduction, name: See `EmbeddingLoss`.

    Raises:
        ValueError: If a loss is none of these, its name cannot stand in the logs, or a weight has no loss.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.WeightedSum({"pairs": "triplet", "spread": keras_epos.KoLeoPenalty()}, {"spread": 0.1})
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.086
    """

    takes_label_rows = True

    def __init__(self, losses, weights=None, reduction="sum_over_batch_size", name=None):
        if not isinstance(losses, dict):
            raise ValueError(
                "`losses` must be a dictionary of name to loss. Received: losses of type "
                f'{type(losses).__name__}. The names appear in the logs: {{"pairs": keras_epos.TripletLoss(), ...}}.'
            )
        losses = {key: as_loss(loss) for key, loss in losses.items()}
        wrong = {key: loss for key, loss in losses.items() if not is_loss(loss)}
        if wrong or not losses:
            raise ValueError(
                "`losses` must be a dictionary of name to loss, of keras_epos or Keras, at least one. "
                f"Received: losses={wrong}"
            )
        unknown = sorted(set(weights or {}) - set(losses))
        if unknown:
            raise ValueError(f"`weights` must name losses of {sorted(losses)}. Received: weights for {unknown}")
        losses, weights = flat(losses, weights or {})
        if taken := [key for key in losses if key in TAKEN]:
            raise ValueError(f"`losses` must have names that the logs do not have already. Received: {taken[0]!r}")
        own = [loss.dtype for loss in losses.values() if isinstance(loss, EmbeddingLoss)]
        super().__init__(reduction=reduction, name=name, dtype=own[0] if own else "float32")
        self.losses = losses
        self.weights = weights

    @property
    def own_losses(self):
        """Dictionary of those losses that are of this library."""
        return {key: loss for key, loss in self.losses.items() if isinstance(loss, EmbeddingLoss)}

    @property
    def statistic_names(self):
        return ("valid_anchors", *self.losses)

    def adopt(self, embedding_dim=None):
        return [state for loss in self.own_losses.values() for state in loss.adopt(embedding_dim)]

    def sampled_losses(self):
        return [one for loss in self.own_losses.values() for one in loss.sampled_losses()]

    def result(self, y_true, y_pred, training=True):
        parts = {
            name: (self.weights.get(name, 1.0), self._result_of(loss, y_true, y_pred, training))
            for name, loss in self.losses.items()
        }
        values = sum(weight * ops.cast(part.values, self.dtype) for weight, part in parts.values())
        # There is something to learn as soon as one of the terms has it; each term keeps a share of its own.
        shares = [ops.cast(part.statistics["valid_anchors"], self.dtype) for _, part in parts.values()]
        return LossResult(values, None, {"valid_anchors": ops.max(ops.stack(shares))}, parts)

    def _result_of(self, loss, y_true, y_pred, training):
        """`LossResult` of one of the losses."""
        if isinstance(loss, EmbeddingLoss):
            return loss.result(y_true, y_pred, training)
        outputs = ops.convert_to_tensor(y_pred, dtype=self.dtype)
        if not isinstance(loss, keras.losses.Loss) or type(loss).__call__ is keras.losses.Loss.__call__:
            # As Keras does before it calls a loss or a function. Its losses do not save the dtype that they have.
            y_true, y_pred = ops.convert_to_tensor(y_true, dtype=self.dtype), outputs
        values = (loss.call if isinstance(loss, keras.losses.Loss) else loss)(y_true, y_pred)
        values = ops.cast(values, self.dtype)
        if len(values.shape) > 1:
            values = ops.mean(values, axis=tuple(range(1, len(values.shape))))
        # One number for the batch counts for every sample.
        ones = ops.ones_like(outputs[:, 0])
        return LossResult(ones * values + self.alarm(None, outputs), ones, {"valid_anchors": 1.0})


def as_loss(loss):
    """A loss from its name, its Keras config or itself, or what was given if it is none."""
    loss = revived(loss, keras.losses.Loss, types.FunctionType)
    name = of_name(loss) if isinstance(loss, str) else loss
    return keras.losses.get(name) if isinstance(name, str) else name


def is_loss(loss):
    return isinstance(loss, keras.losses.Loss) or inspect.isroutine(loss)


def flat(losses, weights):
    """Losses and weights, with those of sums among them in their place.

    Raises:
        ValueError: If two would have one name.
    """
    flat_losses, flat_weights = {}, {}
    for name, loss in losses.items():
        is_sum = isinstance(loss, WeightedSum)
        for part, one in (loss.losses if is_sum else {"": loss}).items():
            key = f"{name}_{part}" if is_sum else name
            if key in flat_losses:
                raise ValueError(f"`losses` must have a name for each, inner sums included. Received: {key!r} twice")
            flat_losses[key] = one
            flat_weights[key] = weights.get(name, 1.0) * (loss.weights.get(part, 1.0) if is_sum else 1.0)
    return flat_losses, flat_weights
