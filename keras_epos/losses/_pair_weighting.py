"""A loss that is defined by its pair weights."""

from collections.abc import Callable

from keras import ops

from keras_epos._config import revived
from keras_epos._pairs import masked_sum
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._terms import Terms


@registered()
class PairWeightingLoss(PairLoss):
    """Pulls and pushes each pair with the weight that your function gives it.

    In general pair weighting a loss *is* its weights `w`, the derivatives by the similarities. This one starts there:

        loss_a = sum_n w_an S_an - sum_p w_ap S_ap,  with the weights held constant

    so its gradient is that of any loss with these weights. Its value is not: it can be negative, and may rise while
    training goes well; watch Recall@K instead.

        @keras.saving.register_keras_serializable("my_project")
        def softly(positives, negatives):
            return ops.sigmoid(2 * (0.5 - positives.similarity)), ops.sigmoid(40 * (negatives.similarity - 0.5))

        loss = keras_epos.PairWeightingLoss(softly, positives="easy")

    - Needs: two classes in a batch, and two samples of a class.
    - Choose it when: you know how strongly each pair is to be pulled and pushed, but not the loss.
    - See also: `PairLoss.pair_weights`.

    Args:
        weight_fn: `(positives, negatives) -> (pull, push)`. It gets a `keras_epos.mining.Selection` each, whose
            `similarity` `(A, K)` carries no gradient, and returns weights >= 0 of the same shapes. What it returns
            outside `mask` is not looked at. Register the function with Keras to save models that use it.
        positives, negatives, average_over, shared: See `PairLoss`.

    Reference: Wang et al. 2019, https://arxiv.org/abs/1904.06627, section 3.
    """

    def __init__(self, weight_fn, positives="all", negatives="all", average_over="valid", **shared):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        weight_fn = revived(weight_fn, Callable)
        if not callable(weight_fn):
            raise ValueError(
                "`weight_fn` must be a function (positives, negatives) -> (pull, push). "
                f"Received: weight_fn={weight_fn!r}"
            )
        self.weight_fn = weight_fn

    def formula(self, positives, negatives, batch):
        sides = [side._replace(similarity=ops.stop_gradient(side.similarity)) for side in (positives, negatives)]
        pull, push = (ops.stop_gradient(weights) for weights in self.weight_fn(*sides))
        attraction = masked_sum(pull * positives.similarity, positives.mask)
        repulsion = masked_sum(push * negatives.similarity, negatives.mask)
        active = ops.logical_or(
            ops.any(ops.logical_and(positives.mask, pull > 0), axis=-1),
            ops.any(ops.logical_and(negatives.mask, push > 0), axis=-1),
        )
        return Terms(repulsion - attraction, None, ops.cast(active, self.dtype))
