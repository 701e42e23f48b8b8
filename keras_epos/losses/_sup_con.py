"""Supervised contrastive loss."""

from keras import ops

from keras_epos._checks import number
from keras_epos._pairs import masked_logsumexp, row_mean
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._terms import Terms, has_both


@registered("sup_con")
class SupConLoss(PairLoss):
    """Spreads the anchor's softmax over all its pairs evenly over its positives.

        loss_a = -1/|P| sum_p log(exp(S_ap / temperature) / sum over positives and negatives j of
            exp(S_aj / temperature))
        weight of p = (softmax_p - 1/|P|) / temperature,  weight of n = softmax_n / temperature

    the softmax over all pairs of the anchor. A positive that takes more than its share is pushed away in favor of
    the others: the form `L_out` of the paper makes a class one point. With one positive, such as
    `positives="easy"`, nothing competes with it and the loss is `NTXentLoss`.

    - Needs: two classes in a batch, and two samples of a class.
    - Choose it when: classes are to be tight, with many samples of each and large batches.
    - See also: `NTXentLoss`.

    Args:
        temperature: Positive number in units of similarity; the default is the paper's.
        positives, negatives, average_over, shared: See `PairLoss`; what is not selected is not in the denominator.

    Reference: Khosla et al. 2020, https://arxiv.org/abs/2004.11362.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.SupConLoss(0.1)
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.967
    """

    def __init__(self, temperature=0.1, positives="all", negatives="all", average_over="valid", **shared):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        number("temperature", temperature, "(0, inf)")
        self.temperature = temperature

    def formula(self, positives, negatives, batch):
        near, far = positives.similarity / self.temperature, negatives.similarity / self.temperature
        pull, push = masked_logsumexp(near, positives.mask), masked_logsumexp(far, negatives.mask)
        both = has_both(positives, negatives)
        # log(sum of all) = log(sum of positives) + log(1 + sum of negatives / sum of positives)
        value = pull + ops.softplus(push - pull) - row_mean(near, positives.mask)
        return Terms(ops.where(both, value, 0), None, ops.cast(both, near.dtype))
