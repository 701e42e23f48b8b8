"""Multi-similarity loss."""

from keras import ops

from keras_epos import mining
from keras_epos._checks import number, one_of
from keras_epos._pairs import masked_logsumexp, masked_max, masked_min
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._terms import Terms, has_either

ORDERS = ("instead_of_mining", "before_mining", "after_mining")


@registered("multi_similarity")
class MultiSimilarityLoss(PairLoss):
    """Weighs every pair by its own similarity and by that of the anchor's other pairs.

    First a mining step drops what is easy: a negative stays if `S_an > min_p S_ap - epsilon`, a positive if
    `S_ap < max_n S_an + epsilon`. Of what stays

        loss_a = log(1 + sum_p exp(-alpha (S_ap - base))) / alpha + log(1 + sum_n exp(beta (S_an - base))) / beta
        weight of p = -z_p / (1 + sum z) with z = exp(-alpha (S - base));  weight of n = z_n / (1 + sum z) with
        z = exp(beta (S - base))

    - Needs: two classes in a batch, and 5 or more samples per class.
    - Choose it when: classes look alike all through; it is a strong default then.
    - See also: `CircleLoss`, `EasyPositiveTripletLoss`.

    Args:
        alpha: Sharpness of the positives, positive.
        beta: Sharpness of the negatives, positive.
        base: Cosine similarity, in [-1, 1], around which pairs are weighed.
        epsilon: Slack of the mining step in units of similarity, or `None` for no mining.
        positives_chosen: When `positives` is not `"all"`: `"instead_of_mining"` (the chosen positives stay whatever
            mining says, negatives are mined against all positives), `"before_mining"` (mining then knows only the
            chosen positives and may drop them) or `"after_mining"` (the choice is among those that mining kept).
        positives, negatives, average_over, shared: See `PairLoss`.

    References: Wang et al. 2019, https://arxiv.org/abs/1904.06627 (constants of the authors' released code).

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.MultiSimilarityLoss(base=0.8)
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.253
    """

    def __init__(
        self,
        alpha=2.0,
        beta=40.0,
        base=0.5,
        epsilon=0.1,
        positives_chosen="instead_of_mining",
        positives="all",
        negatives="all",
        average_over="valid",
        **shared,
    ):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        number("alpha", alpha, "(0, inf)")
        number("beta", beta, "(0, inf)")
        one_of("positives_chosen", positives_chosen, ORDERS)
        self.alpha = alpha
        self.beta = beta
        self.base = base
        self.epsilon = epsilon
        self.positives_chosen = positives_chosen

    def select(self, cosine, positive_mask, negative_mask, dim):
        if self.epsilon is None:
            return super().select(cosine, positive_mask, negative_mask, dim)
        below = (masked_max(cosine, negative_mask) + self.epsilon)[:, None]
        chosen = "after_mining" if self.positives.count is None else self.positives_chosen
        if chosen == "after_mining":
            positive = self.positives.select(cosine, ops.logical_and(positive_mask, cosine < below), "positives")
        else:
            positive = self.positives.select(cosine, positive_mask, "positives")
        reference = mining.Selection(None, positive_mask)
        if chosen == "before_mining":
            reference = positive
            positive = mining.Selection(positive.indices, ops.logical_and(positive.mask, positive.of(cosine) < below))
        above = (masked_min(reference.of(cosine), reference.mask) - self.epsilon)[:, None]
        negative_mask = ops.logical_and(negative_mask, cosine > above)
        return positive, self.select_negatives(cosine, positive, negative_mask, dim)

    def formula(self, positives, negatives, batch):
        pull = masked_logsumexp(-self.alpha * (positives.similarity - self.base), positives.mask)
        push = masked_logsumexp(self.beta * (negatives.similarity - self.base), negatives.mask)
        total = ops.softplus(pull) / self.alpha + ops.softplus(push) / self.beta
        return Terms(total, None, ops.cast(has_either(positives, negatives), total.dtype))
