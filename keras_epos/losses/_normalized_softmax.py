"""Normalized softmax loss."""

from keras_epos._checks import number
from keras_epos.losses._names import registered
from keras_epos.losses._proxy_loss import ProxyLoss, softmax_terms


@registered("normalized_softmax")
class NormalizedSoftmaxLoss(ProxyLoss):
    """Classifies each sample by its cosine similarity `S` to the proxy of every class.

        loss_i = log(1 + sum over other classes c of exp((S_ic - S_iy) / temperature)),  y the class of i
        weight of c = softmax_c(S_i / temperature) / temperature,  weight of y = -sum of the others' weights

    - Needs: labels in `[0, num_classes)`, and a model that trains the proxies: `EmbeddingModel` or
      `MetricLearningModel`.
    - Choose it when: you want the plainest loss with proxies; it is a strong baseline.
    - See also: `CosFaceLoss`, `ProxyNCALoss`.

    Args:
        num_classes, shared: See `ProxyLoss`.
        temperature: Positive number in units of similarity; lower looks only at the nearest classes.
        label_smoothing: Share of the target in [0, 1) that is spread evenly over all classes, the own one among them
            (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567): 0.1 is usual in re-identification. Weights of
            classes are then less by `label_smoothing / C` times `1 / temperature`, and may change their sign.

    Reference: Zhai and Wu 2019, https://arxiv.org/abs/1811.12649.

    Examples:
        >>> model = keras_epos.EmbeddingModel(backbone, embedding_dim=8)
        >>> model.compile("adam", loss=keras_epos.NormalizedSoftmaxLoss(num_classes=4))
        >>> history = model.fit(images, labels, verbose=0)
    """

    def __init__(self, num_classes, temperature=0.05, label_smoothing=0.0, **shared):
        super().__init__(num_classes, **shared)
        number("temperature", temperature, "(0, inf)")
        self.temperature = temperature
        self.label_smoothing = number("label_smoothing", label_smoothing, "[0, 1)")

    def formula(self, similarity, own, other):
        return softmax_terms(similarity / self.temperature, own, other, self.label_smoothing)
