"""Penalties on the embeddings themselves, to be added to a loss with `WeightedSum`."""

from keras import ops

from keras_epos._checks import number
from keras_epos._pairs import (
    LOWEST,
    hinge,
    is_at_rest,
    is_known,
    masked_mean,
    masked_sum,
    products,
    row_similarity,
    share,
    unit,
)
from keras_epos.losses._embedding_loss import EmbeddingLoss
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._terms import Terms, has_either, of_whole_batch


class Penalty(EmbeddingLoss):
    """Base of the penalties that look at each embedding and not at its class. Subclasses define `penalty`."""

    takes_label_rows = True
    statistic_names = ("valid_anchors",)

    def penalty(self, embeddings, known):
        """`(B,)` from embeddings `(B, D)` and booleans `(B,)`, false where the label is to be ignored."""
        raise NotImplementedError(f"{type(self).__name__} must define penalty().")

    def terms(self, labels, embeddings):
        known = ops.ones_like(embeddings[:, 0], dtype="bool")
        if self.ignore_label is not None:
            known = is_known(labels, self.ignore_label)
        counted = ops.cast(known, self.dtype)
        statistics = {"valid_anchors": share(known, self.dtype)}
        return Terms(ops.where(known, self.penalty(embeddings, known), 0), counted, counted, statistics)


@registered()
class NormPenalty(Penalty):
    """Keeps embeddings short: `loss_a = |f_a|^2`. For losses on raw embeddings, such as `NPairsLoss`.

    Args:
        shared: See `EmbeddingLoss`.

    Reference: Sohn 2016, https://papers.nips.cc/paper/6200.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.NormPenalty()
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        1.000
    """

    def penalty(self, embeddings, known):
        return ops.sum(ops.square(embeddings), axis=-1)


@registered()
class ZeroMeanPenalty(Penalty):
    """Keeps the mean of each embedding over its dimensions at 0: `loss_a = |sum_d f_ad|`.

    Made for `SNRContrastiveLoss`, which does not see that mean.

    Args:
        shared: See `EmbeddingLoss`.

    Reference: Yuan et al. 2019, https://arxiv.org/abs/1904.02616.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.ZeroMeanPenalty()
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        1.200
    """

    def penalty(self, embeddings, known):
        return ops.abs(ops.sum(embeddings, axis=-1))


@registered()
class KoLeoPenalty(Penalty):
    """Spreads unit embeddings evenly, whatever their class: `loss_a = -log(distance to the nearest other row)`.

    Distances below 1e-4 count as 1e-4 and have no gradient, so copies do no harm. It works against the pull of
    positives, also inside a class; a weight of 0.1 is large.

    Args:
        shared: See `EmbeddingLoss`.

    Reference: Sablayrolles et al. 2019, https://arxiv.org/abs/1806.03198.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.KoLeoPenalty()
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.861
    """

    def penalty(self, embeddings, known):
        rows = unit(embeddings)
        cosine = ops.stop_gradient(products(rows, rows))
        others = ops.logical_and(known[None, :], ops.logical_not(ops.eye(ops.shape(rows)[0], dtype="bool")))
        nearest = ops.argmax(ops.where(others, cosine, LOWEST), axis=-1)[:, None]
        distance = -row_similarity(rows, ops.take(rows, nearest, axis=0), "euclidean")[:, 0]
        return ops.where(ops.any(others, axis=-1), -ops.log(distance), 0)


@registered()
class SpreadOutPenalty(PairLoss):
    """Makes negatives as orthogonal as random directions are, over the negatives of the whole batch:

        loss = mean(S_an)^2 + max(0, mean(S_an^2) - 1 / dim)

    Every anchor that has positives and negatives gets this one value. Positives have no part in it.

    Args:
        negatives, shared: See `PairLoss`; `positives` does nothing.

    Reference: Zhang et al. 2017, "Learning Spread-out Local Feature Descriptors", https://arxiv.org/abs/1708.06320.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.SpreadOutPenalty()
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.292
    """

    def __init__(self, negatives="all", **shared):
        super().__init__(negatives=negatives, **shared)

    def formula(self, positives, negatives, batch):
        similarity, mask = negatives.similarity, negatives.mask
        mean, mean_square = masked_mean(similarity, mask), masked_mean(ops.square(similarity), mask)
        value = ops.square(mean) + ops.relu(mean_square - 1 / batch.dim)
        takes_part = ops.cast(ops.any(mask, axis=-1), self.dtype)
        return Terms(value * takes_part, takes_part, takes_part)


@registered()
class ThresholdConsistentPenalty(PairLoss):
    """Draws the borders of all classes to one place, so that one threshold serves all of them:

        loss = positive_weight * mean of (positive_margin - S_ap) over the pairs below positive_margin
             + negative_weight * mean of (S_an - negative_margin) over the pairs above negative_margin

    The means are over the pairs of the whole batch that violate their margin; pairs on the right side count for
    nothing. Every anchor that has a pair gets this one value. To be added to a loss that ranks: alone it is a
    `ContrastiveLoss` whose two means are separate.

    Args:
        positive_margin, negative_margin: Cosine similarities, `negative_margin <= positive_margin`.
        positive_weight, negative_weight: Numbers of at least 0.
        positives, negatives, shared: See `PairLoss`.

    Reference: Zhang et al. 2024, "Threshold-Consistent Margin Loss for Open-World Deep Metric Learning",
    https://arxiv.org/abs/2307.04047.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.ThresholdConsistentPenalty()
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.320
    """

    def __init__(
        self,
        positive_margin=0.9,
        negative_margin=0.5,
        positive_weight=1.0,
        negative_weight=1.0,
        positives="all",
        negatives="all",
        **shared,
    ):
        super().__init__(positives=positives, negatives=negatives, **shared)
        self.positive_margin = number("positive_margin", positive_margin, "[-1, 1]", "a cosine similarity")
        self.negative_margin = number(
            "negative_margin", negative_margin, f"[-1, {positive_margin}]", "a cosine similarity"
        )
        self.positive_weight = number("positive_weight", positive_weight, "[0, inf)")
        self.negative_weight = number("negative_weight", negative_weight, "[0, inf)")

    def formula(self, positives, negatives, batch):
        total, active = 0, False
        for weight, violation, side in (
            (self.positive_weight, self.positive_margin - positives.similarity, positives),
            (self.negative_weight, negatives.similarity - self.negative_margin, negatives),
        ):
            violating = ops.logical_and(side.mask, ops.logical_not(is_at_rest(violation)))
            pairs = ops.sum(ops.cast(violating, self.dtype))
            total += weight * masked_sum(hinge(violation), violating) / ops.where(pairs > 0, pairs, 1)
            active = ops.logical_or(active, ops.any(violating, axis=-1))
        takes_part = ops.cast(has_either(positives, negatives), self.dtype)
        return of_whole_batch(total, takes_part, ops.cast(active, self.dtype))
