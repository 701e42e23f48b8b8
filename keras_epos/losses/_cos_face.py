"""CosFace loss."""

from keras import ops

from keras_epos._checks import number
from keras_epos.losses._names import registered
from keras_epos.losses._proxy_loss import ProxyLoss, softmax_terms


@registered("cos_face")
class CosFaceLoss(ProxyLoss):
    """Classifies each sample by its cosine similarity `S` to the proxies, its own class less by a margin.

        loss_i = log(1 + sum over other classes c of exp(scale * (S_ic - S_iy + margin))),  y the class of i
        weight of c = scale * (softmax over logits)_c,  weight of y = -sum of the others' weights

    The margin asks for more than the right class, so classes become tighter than with `NormalizedSoftmaxLoss`. For
    many samples of each class; with few, or noisy labels, take a smaller margin.

    - Needs: labels in `[0, num_classes)`, and a model that trains the proxies: `EmbeddingModel` or
      `MetricLearningModel`.
    - Choose it when: classes are known, and are to be tighter than with `NormalizedSoftmaxLoss`.
    - See also: `ArcFaceLoss`, `NormalizedSoftmaxLoss`.

    Args:
        num_classes, shared: See `ProxyLoss`.
        margin: Cosine similarity in [0, 1).
        scale: Positive number, the inverse of a temperature.
        label_smoothing: Share of the target in [0, 1) that is spread evenly over all classes, the own one among them
            (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567): 0.1 is usual in re-identification. Weights of
            classes are then less by `label_smoothing / C` times `scale`, and may change their sign.

    Reference: Wang et al. 2018, https://arxiv.org/abs/1801.09414.

    Examples:
        >>> model = keras_epos.EmbeddingModel(backbone, embedding_dim=8)
        >>> model.compile("adam", loss=keras_epos.CosFaceLoss(num_classes=4))
        >>> history = model.fit(images, labels, verbose=0)
    """

    def __init__(self, num_classes, margin=0.35, scale=64.0, label_smoothing=0.0, **shared):
        super().__init__(num_classes, **shared)
        number("margin", margin, "[0, 1)", "a cosine similarity")
        number("scale", scale, "(0, inf)")
        self.margin = margin
        self.scale = scale
        self.label_smoothing = number("label_smoothing", label_smoothing, "[0, 1)")

    def formula(self, similarity, own, other):
        logits = self.scale * ops.where(own, similarity - self.margin, similarity)
        return softmax_terms(logits, own, other, self.label_smoothing)
