"""Contrastive loss on signal-to-noise distances."""

from keras import ops

from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._terms import hinges

# A row whose variance, summed over its dimensions, is at most this share of its squared length has no signal: below it
# rounding in float32 decides on the distances.
WEAKEST_SIGNAL = 1e-6


@registered("snr_contrastive")
class SNRContrastiveLoss(PairLoss):
    """Contrastive loss whose distance is the noise between two embeddings relative to the signal of the anchor.

        loss_a = sum_p max(0, d_ap - positive_margin) + sum_n max(0, negative_margin - d_an)
        d_aj = var(f_a - f_j) / var(f_a),  variances over the dimensions
        weight of an active p by its inner product with a = -2 / (dim var(f_a)),  of an active n = 2 / (dim var(f_a))

    The distance of two unrelated embeddings is about 2 whatever the number of dimensions, and it is not symmetric: the
    louder of two raw embeddings is nearer to the other than the other way round. It does not see the mean of an
    embedding over its dimensions, and changes when all embeddings are rotated; `WeightedSum` adds a `ZeroMeanPenalty`,
    as in the paper, to keep that mean at 0. An anchor whose entries are all the same is at distance 0 from everything
    and has no gradient. Mining compares by cosine all the same.

    - Needs: two classes in a batch, and two samples of a class.
    - Choose it when: embeddings keep their length, and pairs are to be judged relative to it.
    - See also: `ContrastiveLoss`, `ZeroMeanPenalty`.

    Args:
        positive_margin: Distance, at least 0, within which a positive is at rest.
        negative_margin: Distance, at least `positive_margin`, to which a negative is pushed.
        normalize: Whether rows are divided by their norm first. The paper takes raw embeddings; divided, the distance
            agrees with retrieval by cosine.
        positives, negatives, average_over, shared: See `PairLoss`.

    Reference: Yuan et al. 2019, https://arxiv.org/abs/1904.02616.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.SNRContrastiveLoss()
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        8.320
    """

    def __init__(
        self,
        positive_margin=0.0,
        negative_margin=1.0,
        normalize=True,
        positives="all",
        negatives="all",
        average_over="active",
        **shared,
    ):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        if not 0 <= positive_margin <= negative_margin:
            raise ValueError(
                "`positive_margin` and `negative_margin` must be distances with 0 <= positive_margin <= "
                f"negative_margin. Received: positive_margin={positive_margin}, negative_margin={negative_margin}"
            )
        self.positive_margin = positive_margin
        self.negative_margin = negative_margin
        self.normalize = normalize

    def similarity(self, products, rows, references):
        # Inner products of the rows without their means.
        centerd = products - rows.shape[-1] * mean(rows) * ops.transpose(mean(references))
        noise = energy(rows)[:, None] + energy(references)[None, :] - 2 * centerd
        return -relative_to_signal(noise, rows)

    def row_similarity(self, rows, chosen):
        return -relative_to_signal(energy(rows[:, None, :] - chosen), rows)

    def formula(self, positives, negatives, batch):
        return hinges(
            (-positives.similarity - self.positive_margin, positives.mask),
            (self.negative_margin + negatives.similarity, negatives.mask),
        )


def mean(rows):
    """Mean over the last axis, which stays."""
    # `ops.mean` would turn float64 into float32 on JAX and PyTorch.
    return ops.sum(rows, axis=-1, keepdims=True) / rows.shape[-1]


def energy(rows):
    """Sum of squares over the last axis of what differs from the mean over it: dim times the variance."""
    return ops.sum(ops.square(rows - mean(rows)), axis=-1)


def relative_to_signal(noise, rows):
    """`noise` `(A, K)` divided by the energy of each anchor; 0 for anchors without signal."""
    signal, squared_norm = energy(rows)[:, None], ops.sum(ops.square(rows), axis=-1)[:, None]
    is_weak = signal <= WEAKEST_SIGNAL * ops.stop_gradient(squared_norm)
    return ops.where(is_weak, ops.zeros_like(noise), noise / ops.where(is_weak, ops.ones_like(signal), signal))
