"""Which labels belong together: the functions behind `same_class=` in losses and in evaluation.

A function takes the labels of `A` anchors and of `R` references and returns booleans `(A, R)`: true where the two
are of the same class, hence positives of each other, false where they are negatives. It must be symmetric, and work
on tensors of the backend as well as on NumPy arrays (operators and `keras.ops` do). Register one of your own with
`keras.saving.register_keras_serializable`, and models that use it can be saved:

    @keras.saving.register_keras_serializable("my_project")
    def same_genus(labels, reference_labels):
        return labels[:, None] // 100 == reference_labels[None, :] // 100

    loss = keras_epos.TripletLoss(same_class=same_genus)
"""

from collections.abc import Callable

from keras import ops

from keras_epos._config import revived


def equal(labels, reference_labels):
    """Same class where two integers `(A,)` and `(R,)` are equal: the usual case."""
    return labels[:, None] == reference_labels[None, :]


def share_a_label(labels, reference_labels):
    """Same class where two rows of zeros and ones, `(A, L)` and `(R, L)`, have a one in common: multi-label data."""
    if len(labels.shape) == 1:
        labels, reference_labels = labels[:, None], reference_labels[:, None]
    # Counts of common labels are exact in float32 up to 2^24 labels; integer products are slow or missing on GPUs.
    counts = ops.cast(labels, "float32") @ ops.transpose(ops.cast(reference_labels, "float32"))
    return counts > 0


SAME_CLASS = {"equal": equal, "share_a_label": share_a_label}


def get(same_class):
    """A function from its name, its Keras config or itself.

    Raises:
        ValueError: If it is none of these.
    """
    same_class = revived(same_class, Callable)
    if isinstance(same_class, str) and same_class in SAME_CLASS:
        return SAME_CLASS[same_class]
    if callable(same_class):
        return same_class
    raise ValueError(
        f"`same_class` must be one of {sorted(SAME_CLASS)} or a function of (labels, reference_labels). "
        f"Received: same_class={same_class!r}"
    )
