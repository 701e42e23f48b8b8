"""Proxy-Anchor loss."""

from functools import partial

from keras import ops

from keras_epos._checks import number
from keras_epos._pairs import count, masked_logsumexp
from keras_epos.losses._names import registered
from keras_epos.losses._proxy_loss import ProxyLoss
from keras_epos.losses._terms import of_whole_batch


@registered("proxy_anchor")
class ProxyAnchorLoss(ProxyLoss):
    """Makes each proxy pull the samples of its class and push all others, the hardest of the batch most.

        loss = mean over classes c in the batch of log(1 + sum over samples i of c of exp(-alpha (S_ic - margin)))
             + mean over all classes c of log(1 + sum over samples i not of c of exp(alpha (S_ic + margin)))
        weight of i for its class c = -alpha exp(-alpha (S_ic - margin)) / (1 + the sum) / (classes in the batch)
        weight of i for another c   = +alpha exp(alpha (S_ic + margin)) / (1 + the sum) / num_classes

    Here the proxy is the anchor, so the loss is a sum over proxies; the value of a sample is an equal share of the
    terms it is in, times the number of samples, so that the mean over the batch is the loss (and `proxy_weights` of the
    sum are those above, times the number of samples). `sample_weight` weighs these shares. Converges fast and tolerates
    outliers; wants large batches, in which a proxy meets several samples of its class, and proxies that learn faster
    than the network: the authors use 100 times its rate (`loss_optimizer` of `compile`).

    - Needs: labels in `[0, num_classes)`, and a model that trains the proxies: `EmbeddingModel` or
      `MetricLearningModel`.
    - Choose it when: training is to converge fast, and some samples are outliers.
    - See also: `ProxyNCALoss`, `MultiSimilarityLoss`.

    Args:
        num_classes, shared: See `ProxyLoss`.
        margin: Cosine similarity in [0, 1); a positive is at rest well above it, a negative well below its negation.
        alpha: Positive number, the inverse of a temperature; higher looks only at the hardest samples.

    Reference: Kim et al. 2020, https://arxiv.org/abs/2003.13911.

    Examples:
        >>> model = keras_epos.EmbeddingModel(backbone, embedding_dim=8)
        >>> model.compile("adam", loss=keras_epos.ProxyAnchorLoss(num_classes=4))
        >>> history = model.fit(images, labels, verbose=0)
    """

    def __init__(self, num_classes, margin=0.1, alpha=32.0, **shared):
        super().__init__(num_classes, **shared)
        number("margin", margin, "[0, 1)", "a cosine similarity")
        number("alpha", alpha, "(0, inf)")
        self.margin = margin
        self.alpha = alpha

    def formula_of(self, labels, embeddings, training):
        return partial(self.formula, number=self.seen(training).number)

    def formula(self, similarity, own, other, number):
        pull = shares(self.alpha * (self.margin - similarity), own)
        push = shares(self.alpha * (self.margin + similarity), other)
        present = ops.sum(ops.cast(ops.any(own, axis=0), similarity.dtype))
        takes_part = count(own, similarity.dtype)
        share = pull / ops.where(present > 0, present, 1.0) + push / number
        return of_whole_batch(share, takes_part, takes_part)


def shares(logits, mask):
    """Equal shares, `(B,)`, of the samples under `mask` in `log(1 + sum_i exp(logit_ic))` of each class, summed."""
    logits, mask = ops.transpose(logits), ops.transpose(mask)
    terms = ops.softplus(masked_logsumexp(logits, mask))
    sizes = ops.sum(ops.cast(mask, logits.dtype), axis=-1)
    # An empty class has no samples to share with.
    share = terms / ops.where(sizes > 0, sizes, 1.0)
    return ops.sum(ops.where(mask, share[:, None], 0.0), axis=0)
