"""BatchLoss: a loss that is one number for the whole batch."""

import keras
from keras import ops

from keras_epos._pairs import masked_sum
from keras_epos.compat.tfa._inputs import precise
from keras_epos.losses import _replicas as replicas

PACKAGE = "keras_epos.compat.tfa"
REDUCTIONS = (None, "none", "auto", "sum", "sum_over_batch_size", "mean", "mean_with_sample_weight")


def serializable(thing):
    """Register a class or a function under a stable name, for `.keras` files."""
    return keras.saving.register_keras_serializable(package=PACKAGE)(thing)


class BatchLoss(keras.losses.Loss):
    """Base of the losses that have one value for the batch. Subclasses define `call`.

    Args:
        name: Name in the logs.
        ignored: Other arguments as given. `reduction` may be any of Keras and has no effect, as there is nothing to
            reduce; all else is refused.

    Raises:
        TypeError: If there is another argument.
        ValueError: If `reduction` is none of Keras.
    """

    def __init__(self, name, ignored):
        for argument, value in ignored.items():
            if argument != "reduction":
                raise TypeError(f"{type(self).__name__}() has no argument `{argument}`. Received: {argument}={value!r}")
            if value not in REDUCTIONS:
                raise ValueError(f"`reduction` must be one of {REDUCTIONS}. Received: reduction={value!r}")
        super().__init__(name=name, reduction="none", dtype="float32")

    def __call__(self, y_true, y_pred, sample_weight=None):
        with keras.name_scope(self.name):
            replica, y_pred = replicas.current(), precise(y_pred)
            if replica is not None:
                y_true, y_pred = replica.gathered(y_true), replica.gathered(y_pred)
            value = self.call(y_true, y_pred)
            if sample_weight is not None:
                value = value * ops.reshape(ops.cast(single(sample_weight), value.dtype), ())
            return value if replica is None else replica.share(value, y_pred)

    def get_config(self):
        return {"name": self.name, "reduction": self.reduction}


def mean_of_pairs(values, mask):
    """Mean of the entries of `(B, B)` values under `mask`, 0 when there are none."""
    # Row by row: one sum over a million entries loses digits in float32.
    total, number = ops.sum(masked_sum(values, mask)), ops.sum(ops.cast(mask, values.dtype))
    return total / ops.where(number > 0, number, ops.ones_like(number))


def single(sample_weight):
    """`sample_weight` as a tensor, if it is one number.

    Raises:
        ValueError: If it is not.
    """
    weight = ops.convert_to_tensor(sample_weight)
    if any(side != 1 for side in weight.shape):
        raise ValueError(
            "`sample_weight` must be one number, since the loss has one value for the batch. Received: shape "
            f"{tuple(weight.shape)}. Losses such as keras_epos.TripletLoss take a weight for each sample."
        )
    return weight
