"""Ranked list loss."""

from keras import ops

from keras_epos._checks import number
from keras_epos._pairs import count, is_at_rest, masked_logsumexp, masked_sum
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._terms import Terms


@registered("ranked_list")
class RankedListLoss(PairLoss):
    """Pulls positives inside a hypersphere around the anchor and pushes negatives out of a larger one.

        loss_a = (1 - balance) mean_p (D_ap - (alpha - margin)) + balance mean_n (alpha - D_an)

    with Euclidean distances `D` between unit rows, over the positives outside the inner and the negatives inside the
    outer sphere; the others are at rest. The means are weighted by `exp(sharpness * violation)`, where the violation is
    the term in brackets: the worst pairs count most. As in the paper these weights are constants of the step: the
    gradient is not the derivative of the value, which would pull the less violating negatives in.

        weight of p by its distance = (1 - balance) exp(..) / sum exp(..),  of n = -balance exp(..) / sum exp(..)

    so each side of an anchor has the same total weight however many pairs it has. Since positives rest inside a sphere
    and need not meet, classes keep some of their structure. An anchor has one term.

    - Needs: two classes in a batch, and two samples of a class.
    - Choose it when: classes are to keep some of their structure, and a class has many samples in the batch.
    - See also: `MarginLoss`.

    Args:
        alpha: Radius of the outer sphere, a distance in (0, 2), best a little above 1, to which negatives are pushed.
        margin: Width of the gap between the spheres, in (0, alpha].
        sharpness: How fast the weight of a negative grows with its violation, per unit of distance, at least 0; 0
            weighs all alike. The paper calls it a temperature, `T_n`.
        positive_sharpness: The same for positives, `T_p`.
        balance: Share of the negatives in the loss, in [0, 1]; lambda in the paper.
        positives, negatives, average_over, shared: See `PairLoss`.

    References: Wang et al. 2019, https://arxiv.org/abs/1903.03238; defaults of the authors' released code.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.RankedListLoss()
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.305
    """

    metric = "euclidean"

    def __init__(
        self,
        alpha=1.2,
        margin=0.4,
        sharpness=10.0,
        positive_sharpness=0.0,
        balance=0.5,
        positives="all",
        negatives="all",
        average_over="valid",
        **shared,
    ):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        if not 0 < margin <= alpha < 2:
            raise ValueError(
                "`alpha` and `margin` must be distances with 0 < margin <= alpha < 2. "
                f"Received: alpha={alpha}, margin={margin}"
            )
        number("sharpness", sharpness, "[0, inf)")
        number("positive_sharpness", positive_sharpness, "[0, inf)")
        number("balance", balance, "[0, 1]")
        self.alpha = alpha
        self.margin = margin
        self.sharpness = sharpness
        self.positive_sharpness = positive_sharpness
        self.balance = balance

    def formula(self, positives, negatives, batch):
        pull, far = worst_first(
            -positives.similarity - (self.alpha - self.margin), positives.mask, self.positive_sharpness
        )
        push, near = worst_first(self.alpha + negatives.similarity, negatives.mask, self.sharpness)
        return Terms((1 - self.balance) * pull + self.balance * push, None, ops.minimum(far + near, 1))


def worst_first(violation, mask, sharpness):
    """Mean of the positive violations, weighted by how large they are, and their number; both `(A,)`."""
    mask = ops.logical_and(mask, ops.logical_not(is_at_rest(violation)))
    exponent = ops.stop_gradient(sharpness * violation)
    normalizer = masked_logsumexp(exponent, mask)[:, None]
    weight = ops.exp(ops.where(mask, exponent - normalizer, ops.zeros_like(exponent)))
    return masked_sum(weight * violation, mask), count(mask, violation.dtype)
