"""The losses with proxies that their common checks run over. Adding one is adding a line to CASES."""

from functools import partial
from typing import NamedTuple

import keras
import loss_cases
import numpy as np
from loss_cases import numpy, tensor

from keras_epos import reference
from keras_epos.losses import (
    AdaFaceLoss,
    ArcFaceLoss,
    CosFaceLoss,
    ElasticArcFaceLoss,
    ElasticCosFaceLoss,
    MagFaceLoss,
    NormalizedSoftmaxLoss,
    ProxyAnchorLoss,
    ProxyNCALoss,
    SoftTripleLoss,
    SubCenterArcFaceLoss,
)

NUM_CLASSES = 5


class Case(NamedTuple):
    """A loss with its oracle of the same settings.

    Attributes:
        make: The class.
        oracle: The function of `reference`.
        settings: Arguments of both.
        centers: Proxies of each class.
        detached: Some factors are constants of a step, so its gradient is not that of its value. The oracle takes the
            embeddings that they are computed from as `constants_at`.
        by_length: The gradient also goes through the lengths of embeddings, which weights know nothing of.
        mixed_signs: It may push a sample from its own class, or pull it to another.
    """

    make: object
    oracle: object
    settings: dict = {}
    centers: int = 1
    detached: bool = False
    by_length: bool = False
    mixed_signs: bool = False

    @property
    def of_settings(self):
        return partial(self.oracle, **self.settings)


def without_std(oracle):
    """The oracle of a loss that draws its margins, where they do not vary."""
    return lambda *batch, std, **settings: oracle(*batch, **settings)


CASES = {
    "normalized softmax": Case(NormalizedSoftmaxLoss, reference.normalized_softmax),
    "normalized softmax smooth": Case(
        NormalizedSoftmaxLoss,
        reference.normalized_softmax,
        {"temperature": 0.1, "label_smoothing": 0.3},
        mixed_signs=True,
    ),
    "CosFace smooth": Case(CosFaceLoss, reference.cos_face, {"scale": 8.0, "label_smoothing": 0.3}, mixed_signs=True),
    "sub-center ArcFace smooth": Case(
        SubCenterArcFaceLoss,
        reference.sub_center_arc_face,
        {"margin": 0.4, "scale": 16.0, "centers": 2, "label_smoothing": 0.1},
        2,
        mixed_signs=True,
    ),
    "CosFace": Case(CosFaceLoss, reference.cos_face, {"margin": 0.2, "scale": 16.0}),
    "ArcFace": Case(ArcFaceLoss, reference.arc_face, {"margin": 0.4, "scale": 16.0}),
    "ArcFace wide": Case(ArcFaceLoss, reference.arc_face, {"margin": 1.4, "scale": 4.0}),
    "sub-center ArcFace": Case(
        SubCenterArcFaceLoss, reference.sub_center_arc_face, {"margin": 0.4, "scale": 16.0, "centers": 3}, 3
    ),
    # Each batch alone, so that a second call of a loss is like the first.
    "AdaFace": Case(
        AdaFaceLoss, reference.ada_face, {"margin": 0.4, "scale": 8.0, "h": 0.7, "momentum": 0.0}, detached=True
    ),
    "MagFace": Case(
        MagFaceLoss,
        reference.mag_face,
        {"margin": [0.3, 0.9], "scale": 8.0, "bounds": [1.5, 4.0], "length_weight": 2.0},
        by_length=True,
    ),
    "ElasticArcFace": Case(ElasticArcFaceLoss, without_std(reference.arc_face), {"scale": 16.0, "std": 0.0}),
    "ElasticCosFace": Case(ElasticCosFaceLoss, without_std(reference.cos_face), {"scale": 16.0, "std": 0.0}),
    "SoftTriple": Case(SoftTripleLoss, reference.soft_triple, {"centers": 3}, 3, mixed_signs=True),
    "SoftTriple one center": Case(SoftTripleLoss, reference.soft_triple, {"centers": 1}, 1, mixed_signs=True),
    "Proxy-NCA": Case(ProxyNCALoss, reference.proxy_nca, {"temperature": 1.0, "denominator": "others"}),
    "Proxy-NCA++": Case(ProxyNCALoss, reference.proxy_nca),
    "Proxy-Anchor": Case(ProxyAnchorLoss, reference.proxy_anchor, {"margin": 0.2, "alpha": 8.0}),
}


def batch(seed=0, dim=4, classes=(5, 4, 2, 1)):
    """Labels, embeddings and, by the number of centers, proxies; of the classes one is absent."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(len(classes)), classes))
    directions = random.standard_normal((NUM_CLASSES, dim))
    embeddings = 0.8 * directions[labels] + random.standard_normal((len(labels), dim))
    embeddings *= random.uniform(0.5, 2.0, (len(labels), 1))

    def proxies(centers):
        rows = np.repeat(directions, centers, axis=0)
        noise = np.random.default_rng(seed + 1).standard_normal((NUM_CLASSES * centers, dim))
        return 0.5 * rows + noise

    return labels, embeddings, proxies


def make(case, proxies, dtype="float64", **settings):
    """The loss of a case with these proxies."""
    loss = CASES[case].make(len(proxies) // CASES[case].centers, dtype=dtype, **{**CASES[case].settings, **settings})
    loss.adopt(np.shape(proxies)[1])
    loss.proxies.assign(proxies)
    return loss


def value_and_gradients(loss, labels, embeddings):
    """The value of a loss and its gradients by embeddings and proxies, for embeddings of any float dtype."""

    def at(rows, proxies):
        with keras.StatelessScope(state_mapping=[(loss.proxies, proxies)]):
            return loss(labels, rows)

    return loss_cases.value_and_gradients(at, embeddings, tensor(numpy(loss.proxies), loss.dtype))


__all__ = ["CASES", "NUM_CLASSES", "batch", "make", "numpy", "tensor", "value_and_gradients"]
