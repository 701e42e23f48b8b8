"""Triplet losses with semi-hard and with hard mining."""

import keras
from keras import ops

from keras_epos._pairs import LOWEST, masks
from keras_epos.compat.tfa._batch_loss import BatchLoss, serializable
from keras_epos.compat.tfa._distances import metric
from keras_epos.compat.tfa._inputs import alarmed, labels_and_rows, number, returned
from keras_epos.losses._batch import at_least_one_row
from keras_epos.losses._each_positive import terms_of_each
from keras_epos.losses._terms import Terms
from keras_epos.mining._strategy import Selection, first


@serializable
def triplet_semihard_loss(y_true, y_pred, margin=1.0, distance_metric="L2"):
    """Triplet loss of every positive pair with its semi-hard negative.

        loss = mean over ordered positive pairs (a, p) of max(0, D_ap - D_an + margin)

    where n is the nearest negative of the anchor that is farther than p, or the farthest of all if none is. Unlike the
    original, a batch without positives or without negatives gives 0 with a gradient of 0, and no `(B^2, B)` tensor is
    built.

    Args:
        y_true: Class labels `(B,)` or `(B, 1)`, any integer dtype, or whole floats outside compiled functions.
        y_pred: Embeddings `(B, D)`, any float dtype; as the original says, better of unit length.
        margin: Number in units of the distance.
        distance_metric: `"L2"`, `"squared-L2"`, `"angular"` (one minus the cosine), or a function from embeddings
            `(B, D)` to distances `(B, B)`.

    Returns:
        Scalar in the dtype of `y_pred`, computed in float32 at least.

    Raises:
        ValueError: If labels are no exact integers, shapes do not fit, or `distance_metric` is unknown.

    Reference: Schroff et al. 2015, https://arxiv.org/abs/1503.03832.
    """
    labels, rows = at_least_one_row(*labels_and_rows(y_true, y_pred))
    distances = metric(distance_metric)(rows)
    positives, negatives = masks(labels, labels)
    # In a batch of one class no pair has a negative.
    positives = ops.logical_and(positives, ops.any(negatives, axis=-1, keepdims=True))
    known = ops.stop_gradient(distances)
    nearness = ops.where(negatives, -known, LOWEST)
    farthest = first(known, negatives, 1)

    def choose(positive):
        semi_hard = first(nearness, known > positive.of(known), 1)
        indices = ops.where(semi_hard.mask, semi_hard.indices, farthest.indices)
        return Selection(indices, ops.logical_and(farthest.mask, positive.mask))

    def formula(positive, negative):
        value = ops.where(negative.mask, ops.relu(margin + negative.similarity - positive.similarity), 0)[:, 0]
        return Terms(value, ops.cast(negative.mask[:, 0], value.dtype), ops.cast(value > 0, value.dtype))

    terms, _ = terms_of_each(formula, choose, positives, -distances, -known)
    number = ops.sum(terms.valid)
    value = ops.sum(terms.total) / ops.where(number > 0, number, ops.ones_like(number))
    return returned(alarmed(value, rows), y_pred)


@serializable
def triplet_hard_loss(y_true, y_pred, margin=1.0, soft=False, distance_metric="L2"):
    """Triplet loss of every anchor with its farthest positive and its nearest negative.

        loss = mean over all anchors of max(0, D_ap - D_an + margin), or of log(1 + exp(D_ap - D_an)) if soft

    As in the original, an anchor without positives stands in for its own positive. Unlike it, a batch without any
    triplet gives 0 with a gradient of 0, and the soft loss does not overflow.

    Args:
        y_true: Class labels `(B,)` or `(B, 1)`, any integer dtype, or whole floats outside compiled functions.
        y_pred: Embeddings `(B, D)`, any float dtype; as the original says, better of unit length.
        margin: Number in units of the distance; not used if `soft`.
        soft: Whether to use the soft margin.
        distance_metric: `"L2"`, `"squared-L2"`, `"angular"` (one minus the cosine), or a function from embeddings
            `(B, D)` to distances `(B, B)`.

    Returns:
        Scalar in the dtype of `y_pred`, computed in float32 at least.

    Raises:
        ValueError: If labels are no exact integers, shapes do not fit, or `distance_metric` is unknown.

    Reference: Hermans et al. 2017, https://arxiv.org/abs/1703.07737.
    """
    labels, rows = at_least_one_row(*labels_and_rows(y_true, y_pred))
    distances = metric(distance_metric)(rows)
    positives, negatives = masks(labels, labels)
    known = ops.stop_gradient(distances)
    has_positive, has_negative = ops.any(positives, axis=-1), ops.any(negatives, axis=-1)
    # The smallest entry of a row is that of the anchor itself.
    positive = ops.where(
        has_positive, ops.argmax(ops.where(positives, known, LOWEST), axis=-1), ops.argmin(known, axis=-1)
    )
    negative = ops.argmin(ops.where(negatives, known, -LOWEST), axis=-1)
    gap = ops.take_along_axis(distances, positive[:, None], axis=-1) - ops.take_along_axis(
        distances, negative[:, None], axis=-1
    )
    value = ops.mean(ops.softplus(gap) if soft else ops.relu(gap + margin))
    some = ops.any(ops.logical_and(has_positive, has_negative))
    return returned(alarmed(ops.where(some, value, ops.zeros_like(value)), rows), y_pred)


@serializable
class TripletSemiHardLoss(BatchLoss):
    """`triplet_semihard_loss` as a class: pulls every positive nearer than its semi-hard negative, by a margin.

    Unlike the original, arguments other than these and `reduction`, which has no effect, are refused.

    Args:
        margin: Number in units of the distance.
        distance_metric: `"L2"`, `"squared-L2"`, `"angular"` (one minus the cosine), or a function from embeddings
            `(B, D)` to distances `(B, B)`, registered with Keras if the model is to be saved.
        name: Name in the logs.

    Call arguments:
        y_true: Class labels `(B,)` or `(B, 1)`, any integer dtype.
        y_pred: Embeddings `(B, D)`, any float dtype.
        sample_weight: One number, or `None`.

    Raises:
        ValueError: If an argument is out of range, or labels or shapes do not fit.

    Reference: Schroff et al. 2015, https://arxiv.org/abs/1503.03832.
    """

    def __init__(self, margin=1.0, distance_metric="L2", name=None, **kwargs):
        super().__init__(name, kwargs)
        self.margin = number("margin", margin)
        self.distance_metric = checked(distance_metric)

    def call(self, y_true, y_pred):
        return triplet_semihard_loss(y_true, y_pred, self.margin, self.distance_metric)

    def get_config(self):
        distance_metric = keras.saving.serialize_keras_object(self.distance_metric)
        return {**super().get_config(), "margin": self.margin, "distance_metric": distance_metric}


@serializable
class TripletHardLoss(BatchLoss):
    """`triplet_hard_loss` as a class: pulls the farthest positive nearer than the nearest negative, by a margin.

    Unlike the original, arguments other than these and `reduction`, which has no effect, are refused.

    Args:
        margin: Number in units of the distance; not used if `soft`.
        soft: Whether to use the soft margin, log(1 + exp(D_ap - D_an)).
        distance_metric: `"L2"`, `"squared-L2"`, `"angular"` (one minus the cosine), or a function from embeddings
            `(B, D)` to distances `(B, B)`, registered with Keras if the model is to be saved.
        name: Name in the logs.

    Call arguments:
        y_true: Class labels `(B,)` or `(B, 1)`, any integer dtype.
        y_pred: Embeddings `(B, D)`, any float dtype.
        sample_weight: One number, or `None`.

    Raises:
        ValueError: If an argument is out of range, or labels or shapes do not fit.

    Reference: Hermans et al. 2017, https://arxiv.org/abs/1703.07737.
    """

    def __init__(self, margin=1.0, soft=False, distance_metric="L2", name=None, **kwargs):
        super().__init__(name, kwargs)
        self.margin = number("margin", margin)
        self.soft = bool(soft)
        self.distance_metric = checked(distance_metric)

    def call(self, y_true, y_pred):
        return triplet_hard_loss(y_true, y_pred, self.margin, self.soft, self.distance_metric)

    def get_config(self):
        distance_metric = keras.saving.serialize_keras_object(self.distance_metric)
        config = {"margin": self.margin, "soft": self.soft, "distance_metric": distance_metric}
        return {**super().get_config(), **config}


def checked(distance_metric):
    """A name as it is, a function or its config as the function."""
    function = metric(distance_metric)
    return distance_metric if isinstance(distance_metric, str) else function
