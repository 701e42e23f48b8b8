"""MagFace loss."""

import math
from functools import partial

from keras import ops

from keras_epos._checks import number
from keras_epos._pairs import masked_sum
from keras_epos.losses._lengths import lengths, turned
from keras_epos.losses._names import registered
from keras_epos.losses._proxy_loss import ProxyLoss, softmax_terms


@registered("mag_face")
class MagFaceLoss(ProxyLoss):
    """Classifies by angle with a margin that grows with the length of an embedding, which becomes its quality.

        loss_i = log(1 + sum over other classes c of exp(scale * (S_ic - t_i))) + length_weight * g(a)
        g(a) = a / longest^2 + 1 / a,  y the class of i
        t_i = cos(arccos(S_iy) + m(a)) where S_iy > 0, else S_iy;  a the length of f_i, held in [shortest, longest]
        m(a) = margin from its lower end at a = shortest to its upper end at a = longest, in a straight line
        weight of c = scale * (softmax over logits)_c,  weight of y = -(sum of the others' weights) * dt_i/dS_iy

    A long embedding is asked for more, and the second part rewards length: samples that are easy to tell become long,
    and hard ones stay short. So the length of a trained embedding says how far it may be trusted. The gradient goes
    through the length while it is between its bounds.

    - Needs: labels in `[0, num_classes)`, a model that trains the proxies, and embeddings that keep their length:
      `EmbeddingModel(backbone, normalize=False)`. Lengths must begin near the bounds: outside they have no gradient.
    - Choose it when: each embedding should come with its quality.
    - See also: `AdaFaceLoss`, `ArcFaceLoss`.

    Args:
        num_classes, shared: See `ProxyLoss`.
        margin: Two angles in radians, `0 < lower <= upper < pi / 2`.
        scale: Positive number, the inverse of a temperature.
        bounds: Two lengths, `0 < shortest < longest`.
        length_weight: Number of at least 0, what length is rewarded with.

    Reference: Meng et al. 2021, https://arxiv.org/abs/2103.06627. Defaults are those of the authors' code.

    Examples:
        >>> model = keras_epos.EmbeddingModel(backbone, embedding_dim=8, normalize=False)
        >>> model.compile("adam", loss=keras_epos.MagFaceLoss(num_classes=4, bounds=(0.5, 20.0)))
        >>> history = model.fit(images, labels, verbose=0)
    """

    takes_prefixes = False

    def __init__(self, num_classes, margin=(0.45, 0.8), scale=64.0, bounds=(10.0, 110.0), length_weight=35.0, **shared):
        super().__init__(num_classes, **shared)
        if not (_is_pair(margin) and 0 < margin[0] <= margin[1] < math.pi / 2):
            raise ValueError(
                "`margin` must be two angles in radians, 0 < lower <= upper < pi / 2. "
                f"Received: margin={margin!r}. From degrees: math.radians(margin)."
            )
        if not (_is_pair(bounds) and 0 < bounds[0] < bounds[1] < math.inf):
            raise ValueError(f"`bounds` must be two lengths, 0 < shortest < longest. Received: bounds={bounds!r}")
        self.margin = list(margin)
        self.scale = number("scale", scale, "(0, inf)")
        self.bounds = list(bounds)
        self.length_weight = number("length_weight", length_weight, "[0, inf)")

    def formula_of(self, labels, embeddings, training):
        return partial(self.formula, length=ops.clip(lengths(embeddings), *self.bounds))

    def formula(self, similarity, own, other, length):
        (shortest, longest), (lower, upper) = self.bounds, self.margin
        margin = lower + (upper - lower) * (length - shortest) / (longest - shortest)
        target = masked_sum(similarity, own)[:, None]
        target = ops.where(target > 0, turned(target, margin), target)
        terms = softmax_terms(self.scale * ops.where(own, target, similarity), own, other)
        reward = self.length_weight * (length / longest**2 + 1 / length)[:, 0]
        return terms._replace(total=terms.total + ops.where(ops.any(own, axis=-1), reward, 0.0))


def _is_pair(values):
    return (
        isinstance(values, (tuple, list))
        and len(values) == 2
        and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    )
