"""N-pairs losses over a matrix of similarities."""

from keras import ops

from keras_epos._pairs import masked_mean
from keras_epos.compat.tfa._batch_loss import BatchLoss, serializable
from keras_epos.compat.tfa._inputs import alarmed, labels_and_rows, precise, returned, square


@serializable
def npairs_loss(y_true, y_pred):
    """Softmax of each anchor's own positive against the positives of all pairs.

        loss = mean over rows i of -sum_j t_ij log softmax_j(S_ij),  t_ij = [y_i = y_j] / number of j with y_i = y_j

    Unlike the original, labels are compared as integers and not in the dtype of the similarities.

    Args:
        y_true: Class labels `(B,)` or `(B, 1)` of the pairs, any integer dtype, or whole floats outside compiled
            functions.
        y_pred: Similarities `(B, B)` of anchors (rows) and positives (columns), any float dtype: `anchors @
            transpose(positives)`.

    Returns:
        Scalar in the dtype of `y_pred`, computed in float32 at least.

    Raises:
        ValueError: If labels are no exact integers, or `y_pred` is not square.

    Reference: Sohn 2016, https://papers.nips.cc/paper/6200.
    """
    labels, similarity = labels_and_rows(y_true, y_pred)
    same = labels[:, None] == labels[None, :]
    return returned(alarmed(cross_entropy(same, square(similarity, labels.shape[0])), similarity), y_pred)


@serializable
def npairs_multilabel_loss(y_true, y_pred):
    """`npairs_loss` where samples have several labels: two samples belong together by the number they share.

        loss = mean over rows i of -sum_j t_ij log softmax_j(S_ij),  t_ij = (y_i . y_j) / sum_k (y_i . y_k)

    Unlike the original, a row without any label is left out of the mean instead of turning the loss NaN.

    Args:
        y_true: Zeros and ones `(B, L)`, of any dtype, a column for each label; may be a sparse tensor.
        y_pred: Similarities `(B, B)` of anchors (rows) and positives (columns), any float dtype.

    Returns:
        Scalar in the dtype of `y_pred`, computed in float32 at least.

    Raises:
        ValueError: If the shapes do not fit.

    Reference: Sohn 2016, https://papers.nips.cc/paper/6200.
    """
    similarity = precise(y_pred)
    indicators = ops.cast(ops.convert_to_tensor(y_true, sparse=False), similarity.dtype)
    if len(indicators.shape) != 2:
        raise ValueError(
            f"`y_true` must be indicators of shape (batch, labels). Received: shape {tuple(indicators.shape)}"
        )
    shared = indicators @ ops.transpose(indicators)
    return returned(alarmed(cross_entropy(shared, square(similarity, indicators.shape[0])), similarity), y_pred)


def cross_entropy(affinity, similarity):
    """Mean cross-entropy of the rows of `similarity` with the rows of `affinity`, divided by their sums."""
    affinity = ops.cast(affinity, similarity.dtype)
    sums = ops.sum(affinity, axis=-1, keepdims=True)
    targets = affinity / ops.where(sums > 0, sums, ops.ones_like(sums))
    return masked_mean(-ops.sum(targets * ops.log_softmax(similarity, axis=-1), axis=-1), sums[:, 0] > 0)


@serializable
class NpairsLoss(BatchLoss):
    """`npairs_loss` as a class. Takes similarities of anchors and positives, not embeddings.

    Args:
        name: Name in the logs.

    Call arguments:
        y_true: Class labels `(B,)` or `(B, 1)` of the pairs, any integer dtype.
        y_pred: Similarities `(B, B)` of anchors (rows) and positives (columns), any float dtype.
        sample_weight: One number, or `None`.

    Raises:
        ValueError: If labels are no exact integers, or `y_pred` is not square.

    Reference: Sohn 2016, https://papers.nips.cc/paper/6200.
    """

    def __init__(self, name="npairs_loss", **kwargs):
        super().__init__(name, kwargs)

    def call(self, y_true, y_pred):
        return npairs_loss(y_true, y_pred)


@serializable
class NpairsMultilabelLoss(BatchLoss):
    """`npairs_multilabel_loss` as a class. Takes similarities of anchors and positives, not embeddings.

    Args:
        name: Name in the logs.

    Call arguments:
        y_true: Zeros and ones `(B, L)`, of any dtype; may be a sparse tensor.
        y_pred: Similarities `(B, B)` of anchors (rows) and positives (columns), any float dtype.
        sample_weight: One number, or `None`.

    Raises:
        ValueError: If the shapes do not fit.

    Reference: Sohn 2016, https://papers.nips.cc/paper/6200.
    """

    def __init__(self, name="npairs_multilabel_loss", **kwargs):
        super().__init__(name, kwargs)

    def call(self, y_true, y_pred):
        return npairs_multilabel_loss(y_true, y_pred)
