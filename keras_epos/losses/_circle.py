"""Circle loss."""

from keras import ops

from keras_epos._checks import number
from keras_epos._pairs import masked_logsumexp
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._terms import Terms, has_both


@registered("circle")
class CircleLoss(PairLoss):
    """Weighs every pair by how far it still is from where it should be, positives near 1 and negatives near 0.

        loss_a = softplus(log sum_p exp(-gamma alpha_p (S_ap - 1 + margin))
                        + log sum_n exp(gamma alpha_n (S_an - margin)))
        alpha_p = max(0, 1 + margin - S_ap),  alpha_n = max(0, S_an + margin), constants of the step
        weight of p = -sigmoid(z) softmax_p gamma alpha_p,  weight of n = sigmoid(z) softmax_n gamma alpha_n

    with `z` the argument of softplus and the softmax of each side over its own exponents. As in the paper no gradient
    flows through `alpha`: the gradient is not the derivative of the value. `keras.losses.Circle` has the same value but
    differentiates `alpha` too, so its weights have `2 (1 - S_ap)` for `alpha_p` and `2 S_an` for `alpha_n`.

    Each side shares one weight among its pairs, so that few or many positives, or only the easy one, weigh the
    same.

    - Needs: two classes in a batch, and two samples of a class.
    - Choose it when: all positives are to come together; it is a strong default then.
    - See also: `MultiSimilarityLoss`.

    Args:
        margin: In (0, 1), in units of similarity; smaller asks for more. The decision boundary is the circle
            `S_n^2 + (1 - S_p)^2 = 2 margin^2`.
        gamma: Scale of the similarities, positive. The paper takes `margin=0.4, gamma=80` for fine-grained retrieval,
            the defaults, and `margin=0.25, gamma=256` for faces.
        positives, negatives, average_over, shared: See `PairLoss`.

    Reference: Sun et al. 2020, https://arxiv.org/abs/2002.10857.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.CircleLoss(margin=0.25)
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        44.464
    """

    def __init__(self, margin=0.4, gamma=80.0, positives="all", negatives="all", average_over="valid", **shared):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        number("margin", margin, "(0, 1)")
        number("gamma", gamma, "(0, inf)")
        self.margin = margin
        self.gamma = gamma

    def formula(self, positives, negatives, batch):
        near, far = positives.similarity, negatives.similarity
        alpha_p = ops.stop_gradient(ops.relu(1 + self.margin - near))
        alpha_n = ops.stop_gradient(ops.relu(far + self.margin))
        pull = masked_logsumexp(-self.gamma * alpha_p * (near - 1 + self.margin), positives.mask)
        push = masked_logsumexp(self.gamma * alpha_n * (far - self.margin), negatives.mask)
        both = has_both(positives, negatives)
        # Without a pair on one side the sum of exponentials is 0, and so is the loss.
        return Terms(ops.softplus(pull + push), None, ops.cast(both, near.dtype))
