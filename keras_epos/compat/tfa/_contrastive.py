"""Contrastive loss over distances of pairs."""

import keras
from keras import ops

from keras_epos.compat.tfa._batch_loss import serializable
from keras_epos.compat.tfa._inputs import number, precise, returned


@serializable
def contrastive_loss(y_true, y_pred, margin=1.0):
    """Draws pairs of the same class to distance 0 and drives others apart, up to a margin.

        loss of a pair = y D^2 + (1 - y) max(0, margin - D)^2

    Unlike the original, `(B,)` and `(B, 1)` are not broadcast against each other to `(B, B)`.

    Args:
        y_true: 1 for pairs of the same class, 0 for others, any dtype; the shape of `y_pred`, up to a last axis of 1.
        y_pred: Distances `(B,)` of the two embeddings of each pair, any float dtype.
        margin: Distance from which pairs of different classes are at rest.

    Returns:
        The loss of each pair, in the shape and dtype of `y_pred`, computed in float32 at least.

    Raises:
        ValueError: If the shapes do not fit.

    Reference: Hadsell et al. 2006, https://doi.org/10.1109/CVPR.2006.100.
    """
    distances = precise(y_pred)
    is_same = ops.cast(ops.convert_to_tensor(y_true), distances.dtype)
    shapes = tuple(is_same.shape), tuple(distances.shape)
    if not fit(*(shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape for shape in shapes)):
        raise ValueError(
            "`y_true` must be a 0 or 1 for each distance in `y_pred`. "
            f"Received: shapes {shapes[0]} of y_true and {shapes[1]} of y_pred"
        )
    is_same = ops.reshape(is_same, ops.shape(distances))
    loss = is_same * ops.square(distances) + (1.0 - is_same) * ops.square(ops.relu(margin - distances))
    return returned(loss, y_pred)


def fit(shape, other):
    """Whether two static shapes can be the same."""
    return len(shape) == len(other) and all(
        None in sides or sides[0] == sides[1] for sides in zip(shape, other, strict=True)
    )


@serializable
class ContrastiveLoss(keras.losses.Loss):
    """`contrastive_loss` as a class. Takes distances of pairs, not embeddings.

    Args:
        margin: Distance from which pairs of different classes are at rest.
        reduction: As in Keras; `"auto"`, which Keras 3 no longer has, is the default.
        name: Name in the logs.

    Call arguments:
        y_true: 1 for pairs of the same class, 0 for others, `(B,)` or `(B, 1)`, any dtype.
        y_pred: Distances `(B,)` or `(B, 1)`, any float dtype.
        sample_weight: Weights of the pairs, `(B,)` or `(B, 1)`, or `None`.

    Raises:
        ValueError: If an argument is out of range, or the shapes do not fit.

    Reference: Hadsell et al. 2006, https://doi.org/10.1109/CVPR.2006.100.
    """

    def __init__(self, margin=1.0, reduction="sum_over_batch_size", name="contrastive_loss"):
        reduction = "sum_over_batch_size" if reduction == "auto" else reduction
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.margin = number("margin", margin)

    def call(self, y_true, y_pred):
        return contrastive_loss(y_true, y_pred, self.margin)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}
