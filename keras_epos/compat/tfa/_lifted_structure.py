"""Lifted structure loss."""

from keras import ops

from keras_epos._pairs import masked_logsumexp, masks
from keras_epos.compat.tfa._batch_loss import BatchLoss, mean_of_pairs, serializable
from keras_epos.compat.tfa._distances import pairwise_distance
from keras_epos.compat.tfa._inputs import alarmed, labels_and_rows, number, returned
from keras_epos.losses._batch import at_least_one_row


@serializable
def lifted_struct_loss(labels, embeddings, margin=1.0):
    """Pulls every positive pair nearer than all negatives of both of its ends, smoothly.

        J_ap = D_ap + log(sum_n exp(margin - D_an) + sum_n exp(margin - D_pn))
        loss = mean over ordered positive pairs of max(0, J_ap)^2 / 2

    with Euclidean distances `D`. Unlike the original, a batch without positives or without negatives gives 0 with a
    gradient of 0, negatives at a distance of 88 and more do not overflow, and no `(B^2, B)` tensor is built.

    Args:
        labels: Class labels `(B,)` or `(B, 1)`, any integer dtype, or whole floats outside compiled functions.
        embeddings: Floats `(B, D)`, any float dtype; as the original says, better not of unit length.
        margin: Number in units of the distance.

    Returns:
        Scalar in the dtype of `embeddings`, computed in float32 at least.

    Raises:
        ValueError: If labels are no exact integers, or shapes do not fit.

    Reference: Oh Song et al. 2016, https://arxiv.org/abs/1511.06452.
    """
    labels, rows = at_least_one_row(*labels_and_rows(labels, embeddings))
    distances = pairwise_distance(rows)
    positives, negatives = masks(labels, labels)
    positives = ops.logical_and(positives, ops.any(negatives, axis=-1, keepdims=True))
    push = masked_logsumexp(margin - distances, negatives)
    terms = ops.relu(distances + ops.logaddexp(push[:, None], push[None, :]))
    return returned(alarmed(mean_of_pairs(ops.square(terms), positives) / 2, rows), embeddings)


@serializable
class LiftedStructLoss(BatchLoss):
    """`lifted_struct_loss` as a class: pulls positive pairs nearer than all negatives of both of their ends.

    Unlike the original, arguments other than these and `reduction`, which has no effect, are refused.

    Args:
        margin: Number in units of the distance.
        name: Name in the logs.

    Call arguments:
        y_true: Class labels `(B,)` or `(B, 1)`, any integer dtype.
        y_pred: Embeddings `(B, D)`, any float dtype.
        sample_weight: One number, or `None`.

    Raises:
        ValueError: If an argument is out of range, or labels or shapes do not fit.

    Reference: Oh Song et al. 2016, https://arxiv.org/abs/1511.06452.
    """

    def __init__(self, margin=1.0, name=None, **kwargs):
        super().__init__(name, kwargs)
        self.margin = number("margin", margin)

    def call(self, y_true, y_pred):
        return lifted_struct_loss(y_true, y_pred, self.margin)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}
