"""ArcFace loss, with one or several centers for each class."""

import math

from keras import ops

from keras_epos._checks import integer, number
from keras_epos._pairs import masked_sum
from keras_epos.losses._names import registered
from keras_epos.losses._proxy_loss import ProxyLoss, softmax_terms


@registered("arc_face")
class ArcFaceLoss(ProxyLoss):
    """Classifies each sample by its angle to the proxies, its own class farther off by a margin.

        loss_i = log(1 + sum over other classes c of exp(scale * (S_ic - t_i))),  y the class of i
        t_i = cos(arccos(S_iy) + margin)       while the angle arccos(S_iy) is below pi - margin
        t_i = S_iy - margin * sin(margin)      beyond, where the cosine would rise again
        weight of c = scale * (softmax over logits)_c,  weight of y = -(sum of the others' weights) * dt_i/dS_iy

    `dt/dS = cos(margin) + sin(margin) / tan(angle)` grows without bound as the angle vanishes, while the gradient
    of the embedding does not; at an angle of exactly 0 or pi it is taken for `cos(margin)` and 1.

    - Needs: labels in `[0, num_classes)`, and a model that trains the proxies: `EmbeddingModel` or
      `MetricLearningModel`.
    - Choose it when: classes are known and have many samples, such as people in face recognition.
    - See also: `CosFaceLoss`, `SubCenterArcFaceLoss`.

    Args:
        num_classes, shared: See `ProxyLoss`.
        margin: Angle in radians in (0, pi / 2).
        scale: Positive number, the inverse of a temperature.
        label_smoothing: Share of the target in [0, 1) that is spread evenly over all classes, the own one among them
            (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567): 0.1 is usual in re-identification. Weights of
            classes are then less by `label_smoothing / C` times `scale`, and may change their sign.

    Reference: Deng et al. 2019, https://arxiv.org/abs/1801.07698.

    Examples:
        >>> model = keras_epos.EmbeddingModel(backbone, embedding_dim=8)
        >>> model.compile("adam", loss=keras_epos.ArcFaceLoss(num_classes=4))
        >>> history = model.fit(images, labels, verbose=0)
    """

    def __init__(self, num_classes, margin=0.5, scale=64.0, label_smoothing=0.0, **shared):
        super().__init__(num_classes, **shared)
        if not 0 < margin < math.pi / 2:
            raise ValueError(
                "`margin` must be an angle in radians in (0, pi / 2). "
                f"Received: margin={margin}. From degrees: math.radians(margin)."
            )
        number("scale", scale, "(0, inf)")
        self.margin = margin
        self.scale = scale
        self.label_smoothing = number("label_smoothing", label_smoothing, "[0, 1)")

    def formula(self, similarity, own, other):
        target = self._beyond_margin(masked_sum(similarity, own)[:, None])
        logits = self.scale * ops.where(own, target, similarity)
        return softmax_terms(logits, own, other, self.label_smoothing)

    def _beyond_margin(self, similarity):
        squared_sine = 1 - ops.square(similarity)
        # The root has no derivative at 0, and rounding can leave less.
        is_between = squared_sine > 0
        sine = ops.sqrt(ops.where(is_between, squared_sine, 1.0))
        sine = ops.where(is_between, sine, 0.0)
        turned = similarity * math.cos(self.margin) - sine * math.sin(self.margin)
        return ops.where(similarity > -math.cos(self.margin), turned, similarity - self.margin * math.sin(self.margin))


@registered("sub_center_arc_face")
class SubCenterArcFaceLoss(ArcFaceLoss):
    """ArcFace loss with several centers for each class: a sample is compared with the nearest of every class.

        loss_i = that of ArcFaceLoss with S_ic = max over the centers k of class c of S_ick

    Weights are those of `ArcFaceLoss`, all on the nearest center of each class. For noisy labels: wrong samples gather
    at centers of their own and the clean ones stay together. To keep the modes of a class on purpose, see
    `SoftTripleLoss`.

    - Needs: labels in `[0, num_classes)`, and a model that trains the proxies: `EmbeddingModel` or
      `MetricLearningModel`.
    - Choose it when: labels are wrong, and classes are known and have many samples.
    - See also: `ArcFaceLoss`, `SoftTripleLoss`.

    Args:
        num_classes, shared: See `ProxyLoss`.
        margin, scale: See `ArcFaceLoss`, and there `label_smoothing`.
        centers: Proxies of each class.

    Reference: Deng et al. 2020, https://www.ecva.net/papers/eccv_2020/papers_ECCV/papers/123560715.pdf.

    Examples:
        >>> model = keras_epos.EmbeddingModel(backbone, embedding_dim=8)
        >>> model.compile("adam", loss=keras_epos.SubCenterArcFaceLoss(num_classes=4))
        >>> history = model.fit(images, labels, verbose=0)
    """

    def __init__(self, num_classes, margin=0.5, scale=64.0, centers=3, **shared):
        super().__init__(num_classes, margin, scale, **shared)
        self.centers = integer("centers", centers, 1)

    def class_similarity(self, similarity):
        return ops.max(similarity, axis=-1)
