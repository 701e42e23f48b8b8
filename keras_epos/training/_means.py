"""Means over the batches of an epoch, of which those without pairs are no part."""

import keras
from keras import ops

from keras_epos._keras_private import CompileLoss
from keras_epos.losses import EmbeddingLoss
from keras_epos.losses import _replicas as replicas
from keras_epos.losses._recording import recorded


class MeasuredMean(keras.metrics.Mean):
    """A mean that is NaN, not 0, where nothing was measured."""

    def result(self):
        mean = super().result()
        return ops.where(ops.convert_to_tensor(self.count) > 0, mean, ops.full_like(mean, float("nan")))


class EpochLoss(MeasuredMean):
    """The loss of an epoch: each batch has the weight of its samples times the share of them that takes part.

    Keras tells the number of samples only, so `weigh` is called for each batch first. In training the mean over nothing
    is 0, which stops no run.
    """

    def __init__(self, name="loss", dtype=None):
        super().__init__(name, dtype)
        self.share = self.add_variable((), keras.initializers.Ones(), name="share")
        self.in_training = self.add_variable((), keras.initializers.Zeros(), name="in_training")

    def weigh(self, share, training):
        """Say which share of the next batch takes part, and whether it is one to train on."""
        self.share.assign(ops.cast(share, self.dtype))
        self.in_training.assign(ops.cast(bool(training), self.dtype))

    def update_state(self, values, sample_weight=None):
        weight = ops.cast(1 if sample_weight is None else sample_weight, self.dtype)
        replica = replicas.current()
        if replica is not None and len(values.shape) > 0:
            # Keras has multiplied by the number of replicas, taking a value for each anchor for a part of the loss.
            values = values / replica.number
        super().update_state(values, weight * ops.convert_to_tensor(self.share))

    def result(self):
        mean = super().result()
        is_unmeasured = ops.logical_and(
            ops.convert_to_tensor(self.count) == 0, ops.convert_to_tensor(self.in_training) > 0
        )
        return ops.where(is_unmeasured, ops.zeros_like(mean), mean)


class MeanOfLoss(MeasuredMean):
    """The mean of one of several losses, weighted by its own share of the batch."""

    def __init__(self, name, loss):
        super().__init__(name)
        self.loss = loss

    def update_state(self, values, sample_weight=None):
        weight = ops.cast(1 if sample_weight is None else sample_weight, self.dtype)
        super().update_state(values, weight * ops.cast(recorded(self.loss).statistics["valid_anchors"], self.dtype))


class LossOfEachOutput(CompileLoss):
    """Keras's losses of several outputs, whose figures in the logs are means over what takes part."""

    def build(self, y_true, y_pred):
        super().build(y_true, y_pred)
        for place, metric in enumerate(self._metrics):
            loss = self._flat_losses[place].loss
            if isinstance(loss, EmbeddingLoss):
                self._metrics[place] = MeanOfLoss(metric.name, loss)
