"""Tensor algebra over pairs of embeddings: unit rows, similarities, masks and masked reductions.

Shapes: `A` anchors are compared with `R` references; the anchors are rows `offset .. offset + A` of the
references, or no part of them at all (`offset=None`).
"""

import keras
import numpy as np
from keras import ops

from keras_epos._compiler import compiled_if_quicker
from keras_epos.same_class import equal

# Below every similarity that can occur, yet finite, so that no NaN arises from it in any later arithmetic.
LOWEST = -1e30
# Squared distances are clamped here before the root, whose gradient has no limit at 0.
SMALLEST_SQUARED_DISTANCE = 1e-8
# In units of the last place of 1. Similarities of copies differ from 1 by a few of them, either way by chance.
AT_REST = 16


def unit(vectors):
    """Rows of `(B, D)` divided by their Euclidean norm; zero rows stay zero and get a zero gradient.

    Rows are first divided by their largest entry, so neither tiny nor huge rows under- or overflow.
    """
    largest = ops.stop_gradient(ops.max(ops.abs(vectors), axis=-1, keepdims=True))
    is_zero = largest == 0
    scaled = vectors / ops.where(is_zero, ops.ones_like(largest), largest)
    squared_norm = ops.sum(ops.square(scaled), axis=-1, keepdims=True)
    inverse = ops.rsqrt(ops.where(is_zero, ops.ones_like(squared_norm), squared_norm))
    return scaled * ops.where(is_zero, ops.zeros_like(inverse), inverse)


def products(rows, references):
    """Inner product of each row `(A, D)` with each reference `(R, D)`: `(A, R)`, cosines if both are unit."""
    # `ops.matmul` would turn float64 into float32 on PyTorch.
    return rows @ ops.transpose(references)


def masks(labels, reference_labels, offset=0, ignore_label=None, same_class=equal):
    """Which references are positives and which are negatives of each anchor.

    Args:
        labels: Integers `(A,)`, or rows `(A, L)` if `same_class` takes them.
        reference_labels: Integers `(R,)`, or rows `(R, L)`.
        offset: Row of the references that holds the first anchor, or integers `(A,)`, the row of each, so that an
            anchor is never its own positive; `None` when the references do not contain the anchors.
        ignore_label: Label that is neither anchor, positive nor negative, or `None`; a row with it anywhere is left
            out.
        same_class: `(labels, reference_labels) -> booleans (A, R)`, see `keras_epos.same_class`.

    Returns:
        `(positives, negatives)`: two boolean tensors `(A, R)`, never both true.
    """
    same = ops.cast(same_class(labels, reference_labels), "bool")
    positives, negatives = same, ops.logical_not(same)
    if offset is not None:
        rows = ops.arange(ops.shape(labels)[0], dtype="int32") + offset if isinstance(offset, int) else offset
        another = rows[:, None] != ops.arange(ops.shape(reference_labels)[0], dtype="int32")[None, :]
        positives = ops.logical_and(positives, another)
        # Only a function may say that a sample is of another class than itself.
        if same_class is not equal:
            negatives = ops.logical_and(negatives, another)
    if ignore_label is not None:
        known = ops.logical_and(
            is_known(labels, ignore_label)[:, None], is_known(reference_labels, ignore_label)[None, :]
        )
        positives, negatives = ops.logical_and(positives, known), ops.logical_and(negatives, known)
    return positives, negatives


def is_known(labels, ignore_label):
    """Booleans `(A,)`: whether a label is not the one to ignore, an integer of any size."""
    held = np.iinfo(keras.backend.standardize_dtype(labels.dtype))
    if held.min <= ignore_label <= held.max:
        differs = labels != ops.convert_to_tensor(np.array(ignore_label, held.dtype))
    else:
        differs = ops.ones_like(labels, dtype="bool")
    return differs if len(differs.shape) == 1 else ops.all(differs, axis=-1)


def to_similarity(products, metric):
    """Inner products of unit rows in the scale of `metric`; a distance is negated, so more is nearer.

    With `"cosine"` they stay as they are, so rows of any length may be compared by their inner product.
    """
    if metric == "cosine":
        return products
    return from_squared_distance(2.0 - 2.0 * products, metric)


def from_squared_distance(squared_distance, metric):
    """Negated `squared_distance` for `"squared_euclidean"`, its negated root for `"euclidean"`."""
    if metric == "squared_euclidean":
        return -squared_distance
    # `ops.maximum` would turn float64 into float32 on PyTorch.
    too_small = squared_distance < SMALLEST_SQUARED_DISTANCE
    return -ops.sqrt(ops.where(too_small, SMALLEST_SQUARED_DISTANCE, squared_distance))


def row_similarity(anchors, rows, metric):
    """Similarity of anchor `a` to each of its own rows: `(A, D)`, `(A, K, D)` to `(A, K)`.

    Distances come from differences, not from `2 - 2 S`, which loses all digits between close rows. A row of zeros has
    similarity 0 to every row, so its squared distance is 2 and not what the difference says.
    """
    if metric == "cosine":
        return ops.sum(anchors[:, None, :] * rows, axis=-1)
    squared_distance = ops.sum(ops.square(anchors[:, None, :] - rows), axis=-1)
    both = ops.logical_and(ops.any(anchors != 0, axis=-1)[:, None], ops.any(rows != 0, axis=-1))
    return from_squared_distance(ops.where(both, squared_distance, 2.0), metric)


def masked_sum(values, mask):
    """Sum over the last axis of the entries under `mask`."""
    return ops.sum(ops.where(mask, values, ops.zeros_like(values)), axis=-1)


def masked_max(values, mask):
    """Largest entry under `mask` over the last axis; `LOWEST` in a row without any."""
    return ops.max(ops.where(mask, values, LOWEST), axis=-1)


def masked_min(values, mask):
    """Smallest entry under `mask` over the last axis; `-LOWEST` in a row without any."""
    return ops.min(ops.where(mask, values, -LOWEST), axis=-1)


def masked_logsumexp(values, mask):
    """`log(sum(exp(values)))` under `mask` over the last axis; `LOWEST` in a row without any."""
    largest = ops.stop_gradient(masked_max(values, mask))
    # The shift is finite and the mask is applied before exp: nothing overflows on either pass.
    shifted = ops.where(mask, values - largest[..., None], LOWEST)
    total = ops.sum(ops.exp(shifted), axis=-1)
    return ops.log(ops.where(total > 0, total, 1.0)) + largest


def masked_mean(values, mask):
    """Mean of the entries under `mask` over all axes; 0 when there are none."""
    weights = ops.cast(mask, values.dtype)
    return ops.sum(ops.where(mask, values, ops.zeros_like(values))) / ops.maximum(ops.sum(weights), 1)


def row_mean(values, mask):
    """Mean over the last axis of the entries under `mask`; 0 in a row without any."""
    number = count(mask, values.dtype)
    return masked_sum(values, mask) / ops.where(number > 0, number, 1)


def share(mask, dtype):
    """True entries of `mask` by all entries, a scalar from 0 to 1; 0 when there are no entries."""
    return masked_mean(ops.cast(mask, dtype), ops.ones_like(mask))


def count(mask, dtype):
    """Number of true entries over the last axis, as floats of `dtype`."""
    return ops.sum(ops.cast(mask, dtype), axis=-1)


def is_at_rest(violation):
    """Whether what must be positive to count is not, or is so small that rounding alone decides; false for NaN."""
    return violation <= rounding(violation.dtype)


def rounding(dtype):
    """What two similarities of copies may differ by, a positive float."""
    return AT_REST * float(np.finfo(keras.backend.standardize_dtype(dtype)).eps)


def hinge(violation):
    """Positive part, exactly 0 and without gradient where it is at rest."""
    return ops.where(is_at_rest(violation), ops.zeros_like(violation), violation)


def for_each_true(mask, step, state):
    """Visit the true entries of each row of `mask`, one after another, all rows side by side.

    What needs every (anchor, positive, reference) triple can so be computed in as many passes as an anchor has
    positives, without a cube. Carries no gradient on every backend: give it tensors without one.

    Args:
        mask: `(A, K)` booleans.
        step: `step(column, here, some, *state) -> state`, with the visited column `(A, 1)` of each row, the same as a
            one-hot mask `(A, K)`, and `(A, 1)` whether there is one; in rows that are done both are false.
        state: Tuple of tensors.

    Returns:
        The last state.
    """

    def visits(mask, *state):
        number = ops.shape(mask)[-1]
        columns = ops.arange(number, dtype="int32")[None, :]

        def first(left):
            # The first one left; XLA's argmax takes longer.
            return ops.min(ops.where(left, columns, number), axis=-1, keepdims=True)

        def visit(column, *state):
            state = step(ops.minimum(column, number - 1), columns == column, column < number, *state)
            return first(ops.logical_and(mask, columns > column)), *state

        return ops.while_loop(lambda column, *_: ops.any(column < number), visit, (first(mask), *state))[1:]

    return compiled_if_quicker(visits, mask, *state)
