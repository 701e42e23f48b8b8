"""Easy positive, hard negative loss."""

from keras import ops

from keras_epos import mining
from keras_epos._pairs import is_at_rest
from keras_epos.losses._names import registered
from keras_epos.losses._nt_xent import NTXentLoss


@registered("easy_positive_hard_negative")
class EasyPositiveHardNegativeLoss(NTXentLoss):
    """EPHN and EPSHN as in the authors' code: the nearest positive against the nearest negative, by a softmax of two.

        loss_a = log(1 + exp((S_an - S_ap) / temperature))
        weight of n = sigmoid((S_an - S_ap) / temperature) / temperature,  weight of p = -weight of n

    `p` is the positive of largest similarity; those above 0.9999 are copies of the anchor's image and do not count.
    `n` is the negative of largest similarity, with `semi_hard=True` of those that are no nearer than `p`. An anchor
    counts only if `S_ap > 0` and `S_an > 0` by more than rounding; the mean is over these, 0 if there are none.

    The pairs are fixed, so there are no `positives` and `negatives`. `NTXentLoss(0.1, "easy", "hard")` is the loss
    without the rule of the signs and with a copy where there is no other positive: choose it unless results are to
    be compared with the published ones. Plain hard negatives can collapse a network that starts from nothing;
    `semi_hard=True` is the safer choice.

    - Needs: two classes in a batch, and 4 or more samples per class: with 2, easy positives are all positives.
    - Choose it when: results are to be compared with the published ones.
    - See also: `NTXentLoss`.

    Args:
        temperature: Positive number in units of similarity.
        semi_hard: Whether negatives nearer than the positive are left out (EPSHN).
        same_class, ignore_label, reduction, name, dtype: See `PairLoss`.

    Reference: Xuan et al. 2020, https://arxiv.org/abs/1904.04370.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.EasyPositiveHardNegativeLoss(semi_hard=True)
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.127
    """

    _ARGUMENTS = ("temperature", "semi_hard", "same_class", "ignore_label", "reduction", "name", "dtype")

    def __init__(
        self,
        temperature=0.1,
        semi_hard=False,
        same_class="equal",
        ignore_label=None,
        reduction="sum_over_batch_size",
        name=None,
        dtype="float32",
        **pairs,
    ):
        for argument, value in pairs.items():
            if argument not in ("positives", "negatives"):
                raise TypeError(f"{type(self).__name__}() has no argument `{argument}`. Received: {argument}={value!r}")
            raise ValueError(
                f"`{argument}` must be left out: {type(self).__name__} is the published loss, with the nearest "
                f"positive and the nearest negative. Received: {argument}={value!r}. For other pairs take "
                'keras_epos.NTXentLoss(0.1, positives="easy", negatives="hard").'
            )
        super().__init__(
            temperature,
            positives=mining.Easy(copies="drop"),
            negatives="hard",
            same_class=same_class,
            ignore_label=ignore_label,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        self.semi_hard = semi_hard

    def get_config(self):
        return {key: value for key, value in super().get_config().items() if key in self._ARGUMENTS}

    def select(self, cosine, positive_mask, negative_mask, dim):
        positive = self.positives.select(cosine, positive_mask, "positives")
        if self.semi_hard:
            negative_mask = ops.logical_and(negative_mask, is_at_rest(cosine - positive.of(cosine)))
        negative = self.select_negatives(cosine, positive, negative_mask, dim)
        kept = ops.logical_and(positive.mask, negative.mask)
        for selection in (positive, negative):
            kept = ops.logical_and(kept, ops.logical_not(is_at_rest(selection.of(cosine))))
        return positive._replace(mask=kept), negative._replace(mask=kept)
