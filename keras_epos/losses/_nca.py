"""Neighborhood components analysis loss."""

from keras import ops

from keras_epos._checks import number
from keras_epos._pairs import masked_logsumexp
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._terms import Terms, has_both


@registered("nca")
class NCALoss(PairLoss):
    """Raises the chance that a neighbor drawn at random by distance is of the anchor's class.

        loss_a = -log(sum_p exp(-scale D_ap^2) / (sum_p exp(-scale D_ap^2) + sum_n exp(-scale D_an^2)))
        weight of p = -scale (1 - chance) softmax_p,  weight of n = scale (1 - chance) softmax_n

    with `D^2` the squared distances between unit rows, `chance` the fraction in the logarithm and each softmax over
    its own side, of `-scale D^2`; the weights are those by the squared distance. One near positive is enough: the
    far ones have hardly any weight, the more so the larger `scale`, so that a class may keep its modes even with
    all positives.

    - Needs: two classes in a batch, and two samples of a class.
    - Choose it when: a class may keep its looks even with all positives.
    - See also: `ProxyNCALoss`, `NTXentLoss`.

    Args:
        scale: Positive number by squared distance, which runs from 0 to 4; larger looks at nearer neighbors only.
            `1 / (2 scale)` is what a temperature is for cosine similarities.
        positives, negatives, average_over, shared: See `PairLoss`.

    Reference: Goldberger et al. 2005, https://papers.nips.cc/paper/2566.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.NCALoss(scale=4.0)
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.877
    """

    metric = "squared_euclidean"

    def __init__(self, scale=1.0, positives="all", negatives="all", average_over="valid", **shared):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        number("scale", scale, "(0, inf)")
        self.scale = scale

    def formula(self, positives, negatives, batch):
        pull = masked_logsumexp(self.scale * positives.similarity, positives.mask)
        push = masked_logsumexp(self.scale * negatives.similarity, negatives.mask)
        both = has_both(positives, negatives)
        return Terms(ops.where(both, ops.softplus(push - pull), 0), None, ops.cast(both, pull.dtype))
