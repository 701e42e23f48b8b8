"""ElasticFace losses: margins drawn anew for each sample in each step."""

import math
from functools import partial

import keras
from keras import ops

from keras_epos._checks import number
from keras_epos._pairs import masked_sum
from keras_epos.losses._lengths import cos, sin, turned
from keras_epos.losses._names import registered
from keras_epos.losses._proxy_loss import ProxyLoss, softmax_terms


class ElasticLoss(ProxyLoss):
    """Base of the losses whose margin is drawn. Subclasses define `beyond_margin`; outside training it is the mean."""

    draws = True

    def __init__(self, num_classes, margin, std, scale, seed, **shared):
        super().__init__(num_classes, seed=seed, **shared)
        self.margin = margin
        self.std = number("std", std, "[0, inf)")
        self.scale = number("scale", scale, "(0, inf)")

    def formula_of(self, labels, embeddings, training):
        size, dtype = ops.shape(embeddings)[0], embeddings.dtype
        margin = ops.full((size, 1), self.margin, dtype=dtype)
        if training:
            margin = margin + self.std * keras.random.normal((size, 1), dtype=dtype, seed=self.generator)
        return partial(self.formula, margin=margin)

    def formula(self, similarity, own, other, margin):
        target = self.beyond_margin(masked_sum(similarity, own)[:, None], margin)
        return softmax_terms(self.scale * ops.where(own, target, similarity), own, other)

    def beyond_margin(self, similarity, margin):
        """The own similarity less a margin, both `(B, 1)`."""
        raise NotImplementedError(f"{type(self).__name__} must define beyond_margin().")


@registered("elastic_arc_face")
class ElasticArcFaceLoss(ElasticLoss):
    """ArcFace loss with a margin drawn for each sample in each step, so that no class is squeezed to one size.

        loss_i = that of ArcFaceLoss with a margin drawn from a normal distribution of mean margin and deviation std

    In evaluation the margin is its mean. The seed's state is saved with the model.

    - Needs: labels in `[0, num_classes)`, and a model that trains the proxies: `EmbeddingModel` or
      `MetricLearningModel`.
    - Choose it when: classes differ in how much their samples vary.
    - See also: `ArcFaceLoss`, `ElasticCosFaceLoss`.

    Args:
        num_classes, shared: See `ProxyLoss`.
        margin: Mean angle in radians in (0, pi / 2).
        std: Its standard deviation, 0 or more.
        scale: Positive number, the inverse of a temperature.
        seed: Integer or `None`.

    Reference: Boutros et al. 2022, https://arxiv.org/abs/2109.09416.

    Examples:
        >>> model = keras_epos.EmbeddingModel(backbone, embedding_dim=8)
        >>> model.compile("adam", loss=keras_epos.ElasticArcFaceLoss(num_classes=4))
        >>> history = model.fit(images, labels, verbose=0)
    """

    def __init__(self, num_classes, margin=0.5, std=0.05, scale=64.0, seed=None, **shared):
        number("margin", margin, f"(0, {math.pi / 2})", "an angle in radians", "From degrees: math.radians(margin).")
        super().__init__(num_classes, margin, std, scale, seed, **shared)

    def beyond_margin(self, similarity, margin):
        far = similarity <= -cos(margin)
        return ops.where(far, similarity - margin * sin(margin), turned(similarity, margin))


@registered("elastic_cos_face")
class ElasticCosFaceLoss(ElasticLoss):
    """CosFace loss with a margin drawn for each sample in each step.

        loss_i = that of CosFaceLoss with a margin drawn from a normal distribution of mean margin and deviation std

    In evaluation the margin is its mean. The seed's state is saved with the model.

    - Needs: labels in `[0, num_classes)`, and a model that trains the proxies: `EmbeddingModel` or
      `MetricLearningModel`.
    - Choose it when: classes differ in how much their samples vary.
    - See also: `CosFaceLoss`, `ElasticArcFaceLoss`.

    Args:
        num_classes, shared: See `ProxyLoss`.
        margin: Mean cosine similarity in [0, 1).
        std: Its standard deviation, 0 or more.
        scale: Positive number, the inverse of a temperature.
        seed: Integer or `None`.

    Reference: Boutros et al. 2022, https://arxiv.org/abs/2109.09416.

    Examples:
        >>> model = keras_epos.EmbeddingModel(backbone, embedding_dim=8)
        >>> model.compile("adam", loss=keras_epos.ElasticCosFaceLoss(num_classes=4))
        >>> history = model.fit(images, labels, verbose=0)
    """

    def __init__(self, num_classes, margin=0.35, std=0.05, scale=64.0, seed=None, **shared):
        number("margin", margin, "[0, 1)", "a cosine similarity")
        super().__init__(num_classes, margin, std, scale, seed, **shared)

    def beyond_margin(self, similarity, margin):
        return similarity - margin
