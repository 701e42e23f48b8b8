"""Recall@k loss."""

from keras import ops

from keras_epos._checks import integer, number
from keras_epos._pairs import count, masked_sum
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._soft_ranks import soft_ranks
from keras_epos.losses._terms import Terms, has_both


@registered("recall_at_k")
class RecallAtKLoss(PairLoss):
    """Raises the share of an anchor's positives among its `k` nearest references, for several `k` at once.

        loss_a = 1 - mean_k R_k,  R_k = min(k, sum_p sigmoid((k - r_p) / rank_temperature)) / min(k, |P|)
        r_p = 1 + sum over all other references x of sigmoid((S_ax - S_ap) / temperature),  the soft rank of p

    With `g_p = -d(loss_a) / d(r_p)`, which is 0 for those `k` whose sum is at its bound, and the slope
    `s (1 - s) / temperature` of a sigmoid `s`:

        weight of x = -sum_p g_p slope_px,  weight of p has also + g_p sum_x slope_px,  and g_p <= 0

    A positive may be pushed away to let another one pass. It is made for batches of thousands, in which ranks mean
    something: `k` counts references of the batch. The anchor is not among its own references, as in evaluation; in the
    authors' code it is, so that its ranks begin at 2. An anchor has one term. A pass for each positive, made twice,
    keeps memory at B^2.

    - Needs: two classes in a batch, and two samples of a class. The larger the batch the better.
    - Choose it when: Recall@k is the goal, and batches are large.
    - See also: `SmoothAPLoss`, `PNPLoss`.

    Args:
        k: Integers of at least 1, a tuple. The defaults are the paper's.
        temperature: Positive number in units of similarity; lower is nearer to the true ranks, and fewer pairs have a
            gradient.
        rank_temperature: Positive number in units of ranks: how softly a positive passes the border at `k`.
        positives, negatives, average_over, shared: See `PairLoss`.

    Reference: Patel et al. 2022, https://arxiv.org/abs/2108.11179.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.RecallAtKLoss(k=(1, 2), temperature=0.1)
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.508
    """

    def __init__(
        self,
        k=(1, 2, 4, 8, 16),
        temperature=0.01,
        rank_temperature=1.0,
        positives="all",
        negatives="all",
        average_over="valid",
        **shared,
    ):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        if not isinstance(k, (tuple, list)) or not k:
            raise ValueError(f"`k` must be a tuple of integers of at least 1. Received: k={k!r}")
        self.k = [integer("k", one, 1) for one in k]
        self.temperature = number("temperature", temperature, "(0, inf)")
        self.rank_temperature = number("rank_temperature", rank_temperature, "(0, inf)")

    def formula(self, positives, negatives, batch):
        mask = positives.mask
        ranks = soft_ranks(positives, negatives, self.temperature, among_positives=True).counts + 1
        number = count(mask, ranks.dtype)[:, None]
        missed, slope = 0, 0
        for k in self.k:
            inside = ops.sigmoid((k - ranks) / self.rank_temperature)
            found = masked_sum(inside, mask)[:, None]
            # Of k results no more than k can be right.
            is_bound = found >= k
            most = ops.where(number > k, ops.cast(k, ranks.dtype), ops.where(number > 0, number, 1.0))
            missed += 1 - ops.where(is_bound, ops.cast(k, ranks.dtype), found) / most
            falls = inside * (1 - inside) / self.rank_temperature / most / len(self.k)
            slope += ops.where(is_bound, ops.zeros_like(falls), falls)
        with_gradient = soft_ranks(
            positives,
            negatives,
            self.temperature,
            lambda _, here: masked_sum(slope, here)[:, None],
            among_positives=True,
        )
        both = has_both(positives, negatives)
        total = ops.where(both, missed[:, 0] / len(self.k), 0.0) + with_gradient.gradient_only
        return Terms(total, None, ops.cast(both, total.dtype))
