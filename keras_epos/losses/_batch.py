"""What a loss accepts: integer labels, in some losses those of known classes only, and embeddings."""

import keras
import numpy as np
from keras import ops

from keras_epos._keras_private import in_symbolic_scope
from keras_epos._labels import refuse_cut_labels
from keras_epos._pairs import is_known


def labels_and_embeddings(y_true, y_pred, dtype, takes_label_rows=False):
    """Labels `(B,)` as exact integers and embeddings `(B, D)` in `dtype`.

    With `takes_label_rows` labels may also be rows of integers or booleans, `(B, L)`, and come back as they are.

    Raises:
        ValueError: If the labels are not integers, or the shapes do not fit.
    """
    refuse_swapped(y_true, y_pred)
    labels, embeddings = as_tensor(y_true), ops.convert_to_tensor(y_pred, dtype=dtype)
    kind = keras.backend.standardize_dtype(labels.dtype)
    if in_symbolic_scope() and "int" not in kind:
        # Under a tf.distribute strategy Keras builds the model on the mean of the replicas' labels: floats, no ids.
        labels, kind = ops.cast(labels, "int32"), "int32"
    if kind == "bool" and takes_label_rows and len(labels.shape) == 2:
        labels, kind = ops.cast(labels, "int32"), "int32"
    if "int" not in kind:
        raise ValueError(
            f"`y_true` must be integer class labels. Received: dtype {kind}, shape {tuple(labels.shape)}. "
            + advice_on_dtype(kind, labels.shape)
        )
    if len(embeddings.shape) != 2:
        advice = {
            3: " Add keras.layers.GlobalAveragePooling1D and Dense at the end of the model.",
            4: " Add keras.layers.GlobalAveragePooling2D and Dense at the end of the model.",
        }
        raise ValueError(
            f"`y_pred` must be embeddings of shape (batch, dim). Received: shape {tuple(embeddings.shape)}."
            + advice.get(len(embeddings.shape), " A model must return one row for each sample.")
        )
    if len(labels.shape) == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if len(labels.shape) != 1 and not (takes_label_rows and len(labels.shape) == 2):
        raise ValueError(
            f"`y_true` must be class labels of shape (batch,) or (batch, 1). Received: shape "
            f"{tuple(labels.shape)}. {ONE_HOT}; rows of several "
            'labels need a pair loss with same_class="share_a_label".'
        )
    rows = labels.shape[0], embeddings.shape[0]
    if None not in rows and rows[0] != rows[1]:
        raise ValueError(
            f"`y_true` must have a label for each of {rows[1]} embeddings. Received: {rows[0]} labels. Pass the labels "
            "of the very samples that the embeddings were made from."
        )
    # Small dtypes do not index a table on every backend.
    if kind not in ("int32", "int64", "uint32", "uint64"):
        labels = ops.cast(labels, "int32")
    return labels, embeddings


ONE_HOT = "One-hot labels become integers by numpy.argmax(labels, axis=-1)"


def advice_on_dtype(kind, shape):
    """What turns labels of a dtype that is none of integers into integers."""
    if kind == "string":
        return "Names become integers by numpy.unique(labels, return_inverse=True)[1]."
    if len(shape) == 2 and shape[1] != 1:
        return f"{ONE_HOT}."
    if kind == "bool":
        return 'Make them integers by labels.astype("int32").'
    return (
        "Floats merge large ids, so keep labels as integers from where they are read; whole numbers become integers "
        'by labels.astype("int64").'
    )


def refuse_swapped(y_true, y_pred):
    """Refuse embeddings and labels that were given in the wrong order."""
    shapes = [tuple(getattr(values, "shape", ())) for values in (y_true, y_pred)]
    looks_like_rows = len(shapes[0]) == 2 and shapes[0][1] != 1 and "float" in str(getattr(y_true, "dtype", ""))
    if looks_like_rows and (len(shapes[1]) == 1 or (len(shapes[1]) == 2 and shapes[1][1] == 1)):
        raise ValueError(
            f"`y_true` must be labels and `y_pred` embeddings, in this order. Received: shapes {shapes[0]} and "
            f"{shapes[1]}, which look swapped. Call loss(labels, embeddings)."
        )


def known_rows(labels, embeddings, ignore_label):
    """The embeddings with zeros in the rows to be ignored, so that nothing of these reaches a value or a gradient."""
    if ignore_label is None:
        return embeddings
    # Before anything is computed of them: masks that come later keep NaN out of the value, and not of the gradient.
    return ops.where(is_known(labels, ignore_label)[:, None], embeddings, ops.zeros_like(embeddings))


def at_least_one_row(labels, embeddings):
    """The batch, and for an empty one a row of zeros with label 0, since nothing has a maximum."""
    if embeddings.shape[0]:
        return labels, embeddings
    # Shapes in a TensorFlow graph are not known before it runs.
    missing = 1 if embeddings.shape[0] == 0 else ops.maximum(1 - ops.shape(embeddings)[0], 0)

    def padded(values):
        rows = ops.zeros((missing, *values.shape[1:]), dtype=values.dtype)
        return ops.concatenate([values, rows], axis=0)

    return padded(labels), padded(embeddings)


def as_tensor(labels):
    """Labels as a tensor of a dtype that the backend has.

    Raises:
        ValueError: If they are names, or the backend would cut them.
    """
    if not ops.is_tensor(labels):
        refuse_cut_labels(labels)
        labels = np.asarray(labels)
        if labels.dtype.kind in "OSUT":
            raise ValueError(
                f"`y_true` must be integer class labels. Received: dtype {labels.dtype}. "
                + advice_on_dtype("string", labels.shape)
            )
        if labels.dtype == "uint64" and keras.backend.backend() == "torch":
            labels = labels.astype("int64")
        if keras.config.floatx() == "bfloat16" and labels.dtype.kind in "iu":
            # Keras makes floats of them on JAX unless it is told the dtype.
            return ops.convert_to_tensor(labels, dtype=labels.dtype.name)
    return ops.convert_to_tensor(labels)


def are_of_known_classes(labels, num_classes, ignore_label=None, training=True):
    """Whether each label, `(B,)`, lies in `[0, num_classes)` or is to be ignored.

    A loss that keeps something for every class must not train a neighbor's on a label out of range. Where values are
    at hand, and in TensorFlow's graphs, such a label raises. Code compiled by XLA cannot raise: the loss must turn NaN
    where the answer is false.

    Raises:
        ValueError: If a label is out of range and values are at hand; in a graph of TensorFlow that is an
            `InvalidArgumentError` with the same sentence. Also if labels are rows.
    """
    if len(labels.shape) != 1:
        raise ValueError(
            "`y_true` must be one label for each sample, as the loss keeps something for every class. "
            f"Received: shape {tuple(labels.shape)}"
        )
    known = ops.logical_and(labels >= 0, labels < num_classes)
    if ignore_label is not None:
        known = ops.logical_or(known, ops.logical_not(is_known(labels, ignore_label)))
    rule = "`y_true` must lie in [0, num_classes)" + ("" if ignore_label is None else f" or be {ignore_label}")
    received = f"Received: num_classes={num_classes} and label"
    advice = (
        "Number the classes by numpy.unique(labels, return_inverse=True)[1]."
        if training
        else "Classes that were not trained have no place in the loss: evaluate with the callback "
        "keras_epos.RecallAtK instead of validation_data."
    )
    if has_values(labels):
        wrong = ops.convert_to_numpy(labels)[~ops.convert_to_numpy(known)]
        if wrong.size:
            raise ValueError(f"{rule}. {received} {wrong[0]}. {advice}")
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        wrong = tf.reduce_max(tf.where(known, labels.dtype.min, labels))
        tf.debugging.Assert(tf.reduce_all(known), [f"{rule}. {advice} {received}", wrong])
    return known


def refuse_unless(condition, sentence, received):
    """Raise an error with a sentence that ends in what was received, where the backend can tell; see above."""
    if in_symbolic_scope():
        return
    if has_values(condition):
        if not bool(condition):
            raise ValueError(f"{sentence} {ops.convert_to_numpy(received)}")
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.debugging.Assert(condition, [sentence, received])


def class_places(labels, num_classes):
    """Labels as indices `(B,)` into something that has an entry for each class; 0 for labels out of range."""
    inside = ops.logical_and(labels >= 0, labels < num_classes)
    return ops.cast(ops.where(inside, labels, ops.zeros_like(labels)), "int32")


def has_values(tensor):
    """Whether the values of a tensor can be read now, rather than being traced or compiled."""
    if keras.backend.backend() == "tensorflow":
        return hasattr(tensor, "numpy")
    if keras.backend.backend() == "jax":
        import jax

        return not isinstance(tensor, jax.core.Tracer)
    return tensor.device.type != "meta"
