"""N-pairs loss."""

from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._terms import tuplets


@registered("n_pairs")
class NPairsLoss(PairLoss):
    """Softmax of each positive against the anchor's negatives, by inner products of embeddings of any length.

        loss_a = sum_p log(1 + sum_n exp(S_an - S_ap)),  S the inner product of the raw rows
        weight of p = -sum of its negatives' weights;  weight of n for p =
            exp(S_an - S_ap) / (1 + sum_k exp(S_ak - S_ap))

    Lengths take the place of a temperature: the loss can always fall by longer rows, so add a `NormPenalty` as the
    paper does. With `normalize=True` it is `NTXentLoss(temperature=1)`, too soft for most uses. The paper's batch has
    one pair of each class, the first of a pair is the anchor and its negatives are the second ones of the other pairs;
    here every sample is an anchor, with all positives and all negatives that are selected.

    - Needs: two classes in a batch, and two samples of a class. Add a `NormPenalty`.
    - Choose it when: embeddings keep their length, as with `EmbeddingModel(normalize=False)`.
    - See also: `NTXentLoss`, `NormPenalty`.

    Args:
        normalize: Whether rows are divided by their norm. Mining compares by cosine similarity either way.
        positives, negatives, average_over, shared: See `PairLoss`.

    Reference: Sohn 2016, https://papers.nips.cc/paper/6200.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.NPairsLoss()
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.957
    """

    has_triplets = True

    def __init__(self, normalize=False, positives="all", negatives="all", average_over="valid", **shared):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        self.normalize = normalize

    def formula(self, positives, negatives, batch):
        return tuplets(positives, negatives)
