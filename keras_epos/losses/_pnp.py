"""PNP loss."""

from keras import ops

from keras_epos._checks import number, one_of
from keras_epos._pairs import masked_sum
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._soft_ranks import number_of, soft_ranks
from keras_epos.losses._terms import Terms, has_both

VARIANTS = ("O", "Iu", "Ib", "Ds", "Dq")


@registered("pnp")
class PNPLoss(PairLoss):
    """Penalizes the negatives that come before a positive, and nothing else.

        loss_a = (1 / |P|) sum_p f(N_p),  N_p = sum_n sigmoid((S_an - S_ap) / temperature)

    `N_p` counts, softly, the negatives before `p`; the order of positives among themselves does not matter. With the
    slope `s (1 - s) / temperature` of a sigmoid `s` of a negative,

        weight of n = sum_p f'(N_p) slope_pn / |P|,  weight of p = -f'(N_p) sum_n slope_pn / |P|

    The variants are the paper's:

        "O"   f = N                                 all positives alike
        "Iu"  f = (1 + N) log(1 + N)                far positives more, f' without bound
        "Ib"  f = (b N - log(1 + b N)) / b^2        far positives more, f' up to 1 / b
        "Ds"  f = log(1 + N)                        near positives more
        "Dq"  f = 1 - (1 + N)^-alpha                near positives more, far ones hardly at all

    The last two leave a positive behind many negatives in peace, as it may belong to another cluster of its class or be
    labelled wrongly: what easy positives do by choice they do by weight. Both can be had: `positives="easy"`. The
    anchor is not among its own positives; in the authors' code it is, which makes the loss smaller. An anchor has one
    term. A pass for each positive keeps memory at B^2.

    - Needs: two classes in a batch, and two samples of a class.
    - Choose it when: the order of the results counts and classes have several looks.
    - See also: `SmoothAPLoss`, `RecallAtKLoss`, `EasyPositiveTripletLoss`.

    Args:
        variant: `"O"`, `"Iu"`, `"Ib"`, `"Ds"` or `"Dq"`, see above.
        alpha: Positive number, the power in `"Dq"`; higher looks only at the nearest positives.
        b: Positive number, the inverse of the largest slope in `"Ib"`.
        temperature: Positive number in units of similarity; lower is nearer to the true count, and fewer pairs have a
            gradient.
        positives, negatives, average_over, shared: See `PairLoss`.

    Reference: Li et al. 2021, https://arxiv.org/abs/2102.04640.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.PNPLoss(temperature=0.1)
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.297
    """

    def __init__(
        self,
        variant="Dq",
        alpha=1.0,
        b=2.0,
        temperature=0.01,
        positives="all",
        negatives="all",
        average_over="valid",
        **shared,
    ):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        self.variant = one_of("variant", variant, VARIANTS)
        self.alpha = number("alpha", alpha, "(0, inf)")
        self.b = number("b", b, "(0, inf)")
        self.temperature = number("temperature", temperature, "(0, inf)")

    def formula(self, positives, negatives, batch):
        share = number_of(positives.mask, positives.similarity.dtype)
        found = soft_ranks(positives, negatives, self.temperature, lambda count, _: self._slope(count) / share)
        total = masked_sum(self._penalty(found.counts) / share, positives.mask) + found.gradient_only
        return Terms(total, None, ops.cast(has_both(positives, negatives), total.dtype))

    def _penalty(self, count):
        """`f` of the count of negatives before a positive."""
        if self.variant == "O":
            return count
        if self.variant == "Ib":
            return (self.b * count - ops.log1p(self.b * count)) / self.b**2
        logarithm = ops.log1p(count)
        if self.variant == "Dq":
            return -ops.expm1(-self.alpha * logarithm)
        return logarithm if self.variant == "Ds" else (1 + count) * logarithm

    def _slope(self, count):
        """`f'`."""
        if self.variant == "O":
            return ops.ones_like(count)
        if self.variant == "Ib":
            return count / (1 + self.b * count)
        logarithm = ops.log1p(count)
        if self.variant == "Dq":
            return self.alpha * ops.exp(-(self.alpha + 1) * logarithm)
        return 1 / (1 + count) if self.variant == "Ds" else 1 + logarithm
