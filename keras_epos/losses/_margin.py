"""Margin loss."""

import keras
from keras import ops

from keras_epos._checks import number
from keras_epos.losses._batch import class_places
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._terms import hinges


@registered("margin")
class MarginLoss(PairLoss):
    """Keeps positives within, and negatives beyond, a boundary distance that it may learn.

        loss_a = sum_p max(0, margin + D_ap - boundary) + sum_n max(0, margin - D_an + boundary)

    with Euclidean distances `D` between unit rows; each active pair has weight 1 by its distance. Made for
    `negatives="distance_weighted"`.

    - Needs: two classes in a batch, and two samples of a class.
    - Choose it when: one distance is to separate all classes, or each class is to learn its own.
    - See also: `ContrastiveLoss`, `DistanceWeighted`.

    Args:
        margin: Half the width of the gap, in units of distance, positive.
        boundary: Distance in (0, 2), called beta in the paper; its starting value when it is learned.
        learn_boundary: `None` (fixed), `"global"` or `"class"` (one for each class of the anchor). The loss then
            has weights, which an `EmbeddingModel` trains and saves with its own.
        num_classes: Number of classes when `learn_boundary="class"`; labels must lie in `[0, num_classes)`.
        positives, negatives, average_over, shared: See `PairLoss`.

    Reference: Wu et al. 2017, https://arxiv.org/abs/1706.07567.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.MarginLoss(positives="easy", negatives="all")
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        0.709
    """

    metric = "euclidean"

    def __init__(
        self,
        margin=0.2,
        boundary=1.2,
        learn_boundary=None,
        num_classes=None,
        positives="all",
        negatives="distance_weighted",
        average_over="active",
        **shared,
    ):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        number("margin", margin, "(0, inf)", "a positive distance")
        number("boundary", boundary, "(0, 2)", "a distance")
        if learn_boundary not in (None, "global", "class"):
            raise ValueError(
                f'`learn_boundary` must be None, "global" or "class". Received: learn_boundary={learn_boundary!r}'
            )
        if (learn_boundary == "class") != (num_classes is not None):
            raise ValueError(
                '`num_classes` must be given with learn_boundary="class" and only then. '
                f"Received: learn_boundary={learn_boundary!r}, num_classes={num_classes}"
            )
        self.margin = margin
        self.boundary = boundary
        self.learn_boundary = learn_boundary
        self.num_classes = num_classes

    @property
    def needs_adoption(self):
        return self.learn_boundary is not None

    def build(self, embedding_dim):
        self._layer.add_weight(
            shape=(self.num_classes or 1,),
            initializer=keras.initializers.Constant(self.boundary),
            name="boundary",
        )

    def formula(self, positives, negatives, batch):
        boundary = self._boundary(batch.labels)
        return hinges(
            (self.margin - positives.similarity - boundary, positives.mask),
            (self.margin + negatives.similarity + boundary, negatives.mask),
        )

    def _boundary(self, anchor_labels):
        if self.learn_boundary is None:
            return self.boundary
        boundary = ops.convert_to_tensor(self._layer.weights[0])
        if self.learn_boundary == "global":
            return boundary[:, None]
        return ops.take(boundary, class_places(anchor_labels, self.num_classes), axis=0)[:, None]
