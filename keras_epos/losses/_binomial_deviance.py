"""Binomial deviance loss."""

from keras import ops

from keras_epos._checks import number
from keras_epos._pairs import row_mean
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._terms import Terms, has_either


@registered("binomial_deviance")
class BinomialDevianceLoss(PairLoss):
    """Logistic regression of every pair on its own: positives above one similarity, negatives below it.

        loss_a = mean_p log(1 + exp(alpha (base - S_ap))) + mean_n log(1 + exp(beta (S_an - base)))
        weight of p = -alpha sigmoid(alpha (base - S_ap)) / |P|,  weight of n = beta sigmoid(beta (S_an - base)) / |N|

    A contrastive loss with soft borders. Each side is a mean, so that the many negatives do not outweigh the few
    positives; but easy pairs are in it, and with all negatives most of them weigh next to nothing: consider
    `negatives="hard"`.

    - Needs: two classes in a batch, and two samples of a class.
    - Choose it when: you want a contrastive loss with soft borders that balances the two sides.
    - See also: `ContrastiveLoss`, `MultiSimilarityLoss`.

    Args:
        alpha: Sharpness of the positives, positive.
        beta: Sharpness of the negatives, positive; large, as a negative only matters near `base` or above.
        base: Cosine similarity, in [-1, 1], where both sides meet.
        positives, negatives, average_over, shared: See `PairLoss`.

    References: Yi et al. 2014, https://arxiv.org/abs/1407.4979; with a mean of each side: Wang et al. 2019,
    https://arxiv.org/abs/1904.06627.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.BinomialDevianceLoss(negatives="hard")
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        14.441
    """

    def __init__(
        self, alpha=2.0, beta=50.0, base=0.5, positives="all", negatives="all", average_over="valid", **shared
    ):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        number("alpha", alpha, "(0, inf)")
        number("beta", beta, "(0, inf)")
        number("base", base, "[-1, 1]", "a cosine similarity")
        self.alpha = alpha
        self.beta = beta
        self.base = base

    def formula(self, positives, negatives, batch):
        pull = ops.softplus(self.alpha * (self.base - positives.similarity))
        push = ops.softplus(self.beta * (negatives.similarity - self.base))
        total = row_mean(pull, positives.mask) + row_mean(push, negatives.mask)
        return Terms(total, None, ops.cast(has_either(positives, negatives), total.dtype))
