"""What a loss accepts: integer labels and embeddings."""

import keras
from keras import ops
from keras.src.backend.common.symbolic_scope import in_symbolic_scope


def labels_and_embeddings(y_true, y_pred, dtype, takes_label_rows=False):
    """Labels `(B,)` as exact integers and embeddings `(B, D)` in `dtype`.

    With `takes_label_rows` labels may also be rows of integers or booleans, `(B, L)`, and come back as they are.

    Raises:
        ValueError: If the labels are not integers, or the shapes do not fit.
    """
    labels, embeddings = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred, dtype=dtype)
    kind = keras.backend.standardize_dtype(labels.dtype)
    if in_symbolic_scope():
        # Under a tf.distribute strategy Keras builds the model on the mean of the replicas' labels: floats, no ids.
        labels, kind = ops.cast(labels, "int64"), "int64"
    if kind == "bool" and takes_label_rows and len(labels.shape) == 2:
        labels, kind = ops.cast(labels, "int32"), "int32"
    if "int" not in kind:
        raise ValueError(
            f"`y_true` must be integer class labels. Received: dtype {kind}. Floats merge large ids; encode "
            "labels as integers, e.g. by numpy.unique(labels, return_inverse=True)[1]."
        )
    if len(embeddings.shape) != 2:
        raise ValueError(
            f"`y_pred` must be embeddings of shape (batch, dim). Received: shape {tuple(embeddings.shape)}"
        )
    if len(labels.shape) == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if len(labels.shape) != 1 and not (takes_label_rows and len(labels.shape) == 2):
        raise ValueError(
            f"`y_true` must be class labels of shape (batch,) or (batch, 1). Received: shape "
            f"{tuple(labels.shape)}. One-hot labels become integers by numpy.argmax(labels, axis=-1); rows of several "
            'labels need a pair loss with same_class="share_a_label".'
        )
    rows = labels.shape[0], embeddings.shape[0]
    if None not in rows and rows[0] != rows[1]:
        raise ValueError(f"`y_true` must have a label for each of {rows[1]} embeddings. Received: {rows[0]} labels")
    # Other dtypes neither hold every `ignore_label` nor index a table on every backend.
    if kind not in ("int32", "int64"):
        labels = ops.cast(labels, "int64" if kind in ("uint32", "uint64") else "int32")
    return labels, embeddings
