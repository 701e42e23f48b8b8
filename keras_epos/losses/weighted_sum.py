"""A weighted sum of losses."""

import keras
from keras import ops

from keras_epos.config import revived
from keras_epos.losses.embedding_loss import EmbeddingLoss
from keras_epos.losses.terms import reduced


@keras.saving.register_keras_serializable(package="keras_epos")
class WeightedSum(EmbeddingLoss):
    """Adds up losses on the same embeddings; an `EmbeddingModel` logs each of them under its name.

        keras_epos.WeightedSum(
            {"pairs": keras_epos.MultiSimilarityLoss(), "spread": keras_epos.SpreadOutPenalty()}, {"spread": 0.1}
        )

    Every loss keeps its own strategies, labels to ignore and mean; the reduction is that of the sum.

    Args:
        losses: Dictionary of name to loss. The names appear in the logs, with values before weighting.
        weights: Dictionary of name to number; 1 for names that are not in it.
        reduction, name: See `EmbeddingLoss`.

    Raises:
        ValueError: If a loss is none of this library's, or a weight has no loss.
    """

    takes_label_rows = True

    def __init__(self, losses, weights=None, reduction="sum_over_batch_size", name=None):
        if not isinstance(losses, dict):
            raise ValueError(
                "`losses` must be a dictionary of name to loss. Received: losses of type "
                f'{type(losses).__name__}. The names appear in the logs: {{"pairs": keras_epos.TripletLoss(), ...}}.'
            )
        losses = {key: revived(loss) for key, loss in losses.items()}
        wrong = {key: loss for key, loss in losses.items() if not isinstance(loss, EmbeddingLoss)}
        if wrong or not losses:
            raise ValueError(
                f"`losses` must be a dictionary of name to keras_epos loss, at least one. Received: losses={wrong}"
            )
        unknown = sorted(set(weights or {}) - set(losses))
        if unknown:
            raise ValueError(f"`weights` must name losses of {sorted(losses)}. Received: weights for {unknown}")
        super().__init__(reduction=reduction, name=name, dtype=next(iter(losses.values())).dtype)
        self.losses = losses
        self.weights = dict(weights or {})

    @property
    def statistic_names(self):
        return ("valid_anchors", *self.losses)

    def adopt(self, embedding_dim=None):
        return [state for loss in self.losses.values() for state in loss.adopt(embedding_dim)]

    def __call__(self, y_true, y_pred, sample_weight=None):
        self.statistics = {}
        total = 0.0
        with keras.name_scope(self.name):
            for name, loss in self.losses.items():
                loss.training = self.training
                value = reduced(*loss.values(y_true, y_pred), sample_weight, self.reduction)
                self.statistics[name] = ops.stop_gradient(ops.mean(value))
                total = total + self.weights.get(name, 1.0) * value
            # There is something to learn as soon as one of the terms has it; each term keeps a share of its own.
            shares = [ops.cast(loss.statistics["valid_anchors"], self.dtype) for loss in self.losses.values()]
            self.statistics["valid_anchors"] = ops.max(ops.stack(shares))
        return total

    def share_of(self, statistic):
        return self.losses[statistic].statistics["valid_anchors"] if statistic in self.losses else 1.0

    def call(self, y_true, y_pred):
        return sum(self.weights.get(name, 1.0) * loss.call(y_true, y_pred) for name, loss in self.losses.items())
