"""SoftTriple loss."""

from functools import partial

from keras import ops

from keras_epos._checks import integer, number
from keras_epos.losses._names import registered
from keras_epos.losses._proxy_loss import ProxyLoss, softmax_terms

# Added under the root of the regularizer, as in the authors' code: equal centers then have a gradient.
UNDER_ROOT = 1e-5


@registered("soft_triple")
class SoftTripleLoss(ProxyLoss):
    """Classifies each sample by its similarity to several centers of each class, the nearest counting most.

        S_ic = sum over the centers k of class c of q_ick S_ick,  q_ick = softmax_k(S_ick / gamma)
        loss_i = log(1 + sum over other classes c of exp(scale * (S_ic - S_iy + margin))) + R,  y the class of i
        R = tau * mean over classes and pairs of centers of |w_s - w_t| / 2
        weight of k of c = (weight of c in CosFaceLoss) * q_ick * (1 + (S_ick - S_ic) / gamma)

    The analogue of easy positives among losses with proxies: a sample is pulled towards the nearest center of its
    class, so the class keeps its modes. `R` draws together centers that a class does not need; it is part of every
    sample's loss and of the gradient of the proxies alone.

    - Needs: labels in `[0, num_classes)`, and a model that trains the proxies: `EmbeddingModel` or
      `MetricLearningModel`.
    - Choose it when: classes are known and have several looks.
    - See also: `SubCenterArcFaceLoss`, `EasyPositiveTripletLoss`.

    Args:
        num_classes, shared: See `ProxyLoss`.
        centers: Proxies of each class, at least as many as a class has modes.
        scale: Positive number, the inverse of a temperature; lambda in the paper.
        gamma: Temperature of the choice among centers, positive; lower looks only at the nearest.
        margin: Cosine similarity in [0, 1); delta in the paper.
        tau: Weight of the regularizer, 0 or more.

    Reference: Qian et al. 2019, https://arxiv.org/abs/1909.05235.

    Examples:
        >>> model = keras_epos.EmbeddingModel(backbone, embedding_dim=8)
        >>> model.compile("adam", loss=keras_epos.SoftTripleLoss(num_classes=4))
        >>> history = model.fit(images, labels, verbose=0)
    """

    def __init__(self, num_classes, centers=10, scale=20.0, gamma=0.1, margin=0.01, tau=0.2, **shared):
        super().__init__(num_classes, **shared)
        number("scale", scale, "(0, inf)")
        number("gamma", gamma, "(0, inf)")
        number("margin", margin, "[0, 1)", "a cosine similarity")
        number("tau", tau, "[0, inf)")
        self.centers = integer("centers", centers, 1)
        self.scale = scale
        self.gamma = gamma
        self.margin = margin
        self.tau = tau

    def class_similarity(self, similarity):
        return ops.sum(ops.softmax(similarity / self.gamma, axis=-1) * similarity, axis=-1)

    def formula_of(self, labels, embeddings, training):
        return partial(self.formula, seen=self.seen(training))

    def formula(self, similarity, own, other, seen):
        terms = softmax_terms(self.scale * ops.where(own, similarity - self.margin, similarity), own, other)
        if self.tau == 0 or self.centers == 1:
            return terms
        return terms._replace(total=terms.total + ops.where(ops.any(own, axis=-1), self._regularizer(seen), 0.0))

    def _regularizer(self, seen):
        centers = ops.reshape(self.directions(seen), (seen.classes.shape[0], self.centers, -1))
        cosine = centers @ ops.transpose(centers, (0, 2, 1))
        different = ops.logical_not(ops.eye(self.centers, dtype="bool"))[None]
        squared_distance = ops.where(different, 2 - 2 * cosine + UNDER_ROOT, 1.0)
        distances = ops.where(different, ops.sqrt(squared_distance), 0.0)
        if seen.counts is not None:
            distances = ops.where(seen.counts[:, None, None], distances, 0.0)
        # Every pair of centers is there twice.
        pairs = seen.number * self.centers * (self.centers - 1)
        return self.tau * ops.sum(distances) / 2 / pairs
