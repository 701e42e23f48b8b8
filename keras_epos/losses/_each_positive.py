"""The terms of all positives where each has a negative of its own."""

from keras import ops

from keras_epos._gradient import gradient
from keras_epos._pairs import for_each_true, masked_sum
from keras_epos.losses._terms import Terms, zero_with_gradient
from keras_epos.mining import Selection


def terms_of_each(formula, choose, mask, similarity, cosine):
    """The sum of a formula over the positives, taken one at a time with the negative that is chosen for it.

    The passes carry no gradient: they collect the pair weights, and a sum of weight times similarity has the gradient
    of the loss.

    Args:
        formula: Function of two `Selection`s of one column, a positive and a negative, to `Terms`.
        choose: Function of a `Selection` of one positive to that of its negative.
        mask: Booleans `(A, R)`, the positives.
        similarity: `(A, R)`, what is differentiated.
        cosine: `(A, R)`, for statistics.

    Returns:
        `(terms, negatives)`: `Terms`, and the sum of the chosen negatives' cosines and their number, `(A,)` each.
    """
    constant = ops.stop_gradient(similarity)
    anchors = ops.arange(ops.shape(mask)[0], dtype="int32")[:, None]

    def add(column, here, some, total, valid, active, far, number, weights):
        positive = Selection(column, some)
        negative = choose(positive)

        def of(both):
            pairs = zip((positive, negative), (both[:, :1], both[:, 1:]), strict=True)
            return formula(*(side._replace(similarity=found) for side, found in pairs))

        both = ops.concatenate([positive.of(constant), negative.of(constant)], axis=-1)
        slopes = gradient(lambda both: ops.sum(of(both).total), both)
        for side, slope in ((positive, slopes[:, :1]), (negative, slopes[:, 1:])):
            places = ops.concatenate([anchors, ops.cast(side.indices, "int32")], axis=-1)
            weights = ops.scatter_update(weights, places, (side.of(weights) + slope)[:, 0])
        terms = of(both)
        chosen = ops.cast(negative.mask[:, 0], cosine.dtype)
        # A formula that leaves the number of its terms out has one for each anchor.
        valid = ops.maximum(valid, chosen) if terms.valid is None else valid + terms.valid
        far = far + masked_sum(negative.of(cosine), negative.mask)
        return total + terms.total, valid, active + terms.active, far, number + chosen, weights

    none = ops.zeros_like(constant[:, 0])
    found = for_each_true(mask, add, (none, none, none, none, none, ops.zeros_like(constant)))
    total, valid, active, far, number, weights = (ops.stop_gradient(one) for one in found)
    total = total + zero_with_gradient(weights, similarity, ops.ones_like(mask))
    return Terms(total, valid, active), (far, number)
