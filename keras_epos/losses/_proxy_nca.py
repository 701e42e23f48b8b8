"""Proxy-NCA loss."""

from keras import ops

from keras_epos._checks import number
from keras_epos._pairs import count
from keras_epos.losses._names import registered
from keras_epos.losses._proxy_loss import ProxyLoss, own_against_others, softmax_terms
from keras_epos.losses._terms import Terms


@registered("proxy_nca")
class ProxyNCALoss(ProxyLoss):
    """Puts each sample nearer to the proxy of its class than to those of the other classes.

        loss_i = -log(exp(-D_iy / temperature) / sum_c exp(-D_ic / temperature)),  y the class of i
        weight of c = 2 softmax_c(-D_i / temperature) / temperature,  weight of y = -sum of the others' weights

    with squared Euclidean distances `D` between unit rows. The sum is over all classes, or over the others only:

        ProxyNCALoss(C)                                          ProxyNCA++, Teh et al. 2020
        ProxyNCALoss(C, temperature=1.0, denominator="others")   Proxy-NCA, Movshovitz-Attias et al. 2017

    With `"others"` the loss has no lower bound, may be negative, and pulls a sample as strongly when it is in place;
    the softmax of the other classes alone then makes the weights. With `"all"` the pull ends with the errors, and the
    loss is `NormalizedSoftmaxLoss` at half the temperature. Sensitive to the learning rate of the proxies: try
    10 times that of the network and more (`loss_optimizer` of `compile`).

    - Needs: labels in `[0, num_classes)`, and a model that trains the proxies: `EmbeddingModel` or
      `MetricLearningModel`.
    - Choose it when: distances are to be Euclidean, or a paper is to be repeated.
    - See also: `NormalizedSoftmaxLoss`, `NCALoss`.

    Args:
        num_classes, shared: See `ProxyLoss`.
        temperature: Positive number in units of squared distance; lower looks only at the nearest classes.
        denominator: `"all"` or `"others"`.

    References: Movshovitz-Attias et al. 2017, https://arxiv.org/abs/1703.07464; Teh et al. 2020,
    https://arxiv.org/abs/2004.01113.

    Examples:
        >>> model = keras_epos.EmbeddingModel(backbone, embedding_dim=8)
        >>> model.compile("adam", loss=keras_epos.ProxyNCALoss(num_classes=4))
        >>> history = model.fit(images, labels, verbose=0)
    """

    def __init__(self, num_classes, temperature=1 / 9, denominator="all", **shared):
        super().__init__(num_classes, **shared)
        number("temperature", temperature, "(0, inf)")
        if denominator not in ("all", "others"):
            raise ValueError(f'`denominator` must be "all" or "others". Received: denominator={denominator!r}')
        self.temperature = temperature
        self.denominator = denominator

    def formula(self, similarity, own, other):
        # D = 2 - 2 S, and the 2 is the same in numerator and denominator.
        logits = 2 * similarity / self.temperature
        if self.denominator == "all":
            return softmax_terms(logits, own, other)
        compares = ops.logical_and(ops.any(own, axis=-1), ops.any(other, axis=-1))
        number = count(own, logits.dtype)
        return Terms(ops.where(compares, own_against_others(logits, own, other), 0.0), number, number)
