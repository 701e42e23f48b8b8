"""Contrastive loss."""

from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._terms import hinges


@registered("contrastive")
class ContrastiveLoss(PairLoss):
    """Pulls positives above one similarity and pushes negatives below another, each pair on its own.

        loss_a = sum_p max(0, positive_margin - S_ap) + sum_n max(0, S_an - negative_margin)
        weight of p = -[S_ap < positive_margin],  weight of n = [S_an > negative_margin]

    The oldest loss of the field and still a strong one; the weights do not look at the rest of the batch.

    - Needs: two classes in a batch, and two samples of a class.
    - Choose it when: one threshold of similarity must hold for all classes, as in verification.
    - See also: `MarginLoss`, `BinomialDevianceLoss`.

    Args:
        positive_margin: Cosine similarity in [-1, 1] from which a positive is at rest.
        negative_margin: Cosine similarity in [-1, 1], at most `positive_margin`, to which a negative is pushed.
        positives, negatives, average_over, shared: See `PairLoss`.

    References: Hadsell et al. 2006, https://doi.org/10.1109/CVPR.2006.100; the cosine form: Wang et al. 2019,
    https://arxiv.org/abs/1904.06627.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.ContrastiveLoss(negative_margin=0.3)
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.332
    """

    def __init__(
        self,
        positive_margin=1.0,
        negative_margin=0.5,
        positives="all",
        negatives="all",
        average_over="active",
        **shared,
    ):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        if not -1 <= negative_margin <= positive_margin <= 1:
            raise ValueError(
                "`negative_margin` and `positive_margin` must be cosine similarities with -1 <= negative_margin <= "
                f"positive_margin <= 1. Received: negative_margin={negative_margin}, positive_margin={positive_margin}"
            )
        self.positive_margin = positive_margin
        self.negative_margin = negative_margin

    def formula(self, positives, negatives, batch):
        return hinges(
            (self.positive_margin - positives.similarity, positives.mask),
            (negatives.similarity - self.negative_margin, negatives.mask),
        )
