"""NT-Xent loss."""

from keras_epos._checks import number
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._terms import tuplets


@registered("nt_xent")
class NTXentLoss(PairLoss):
    """Softmax of each positive against the anchor's negatives.

        loss_a = sum_p log(1 + sum_n exp((S_an - S_ap) / temperature))
        weight of p = -sum of its negatives' weights;  weight of n for p =
            exp((S_an - S_ap) / temperature) / (1 + sum_k exp((S_ak - S_ap) / temperature)) / temperature

    Other positives are not in the denominator. `NTXentLoss(0.1, positives="easy", negatives="hard")` is the loss
    of EPHN and `negatives=SemiHard("skip")` that of EPSHN.

    - Needs: two classes in a batch, and two samples of a class. The more negatives the better.
    - Choose it when: you look for one softmax loss that works for most data; a temperature of 0.05 to 0.1 suits
      clean labels.
    - See also: `SupConLoss`, `EasyPositiveHardNegativeLoss`.

    Args:
        temperature: Positive number in units of similarity; lower looks only at the nearest negatives.
        positives, negatives, average_over, shared: See `PairLoss`.

    References: Sohn 2016, https://papers.nips.cc/paper/6200; van den Oord et al. 2018,
    https://arxiv.org/abs/1807.03748; Xuan et al. 2020, https://arxiv.org/abs/1904.04370.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.NTXentLoss(0.1, positives="easy")
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.967
    """

    has_triplets = True

    def __init__(self, temperature=0.1, positives="all", negatives="all", average_over="valid", **shared):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        number("temperature", temperature, "(0, inf)")
        self.temperature = temperature

    def formula(self, positives, negatives, batch):
        return tuplets(
            *(side._replace(similarity=side.similarity / self.temperature) for side in (positives, negatives))
        )
