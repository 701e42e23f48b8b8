"""Sigmoid loss of two towers."""

import math

import keras
from keras import ops

from keras_epos._checks import number
from keras_epos._pairs import masked_sum
from keras_epos.losses._names import registered
from keras_epos.losses._terms import Terms
from keras_epos.losses._two_towers import TwoTowerLoss


@registered("siglip")
class SigLIPLoss(TwoTowerLoss):
    """Tells for each query and each document of the batch whether they belong together, apart from all others.

        loss_i = log(1 + exp(-(S_ii / temperature + bias))) + sum_j log(1 + exp(S_ij / temperature + bias))
        weight of i for itself = -sigmoid(-(S_ii / temperature + bias)) / temperature
        weight of j for i = sigmoid(S_ij / temperature + bias) / temperature

    over the documents `j` that are negatives of query `i`, see `TwoTowerLoss`. Temperature and bias are learned: they
    are where the model is sure that a pair belongs together. The bias starts low, as nearly all pairs do not.

    - Needs: a model whose output is the query's embedding followed by the document's, and that trains the loss's
      weights: `MetricLearningModel`.
    - Choose it when: batches of pairs are small, or a probability that a pair belongs together is wanted.
    - See also: `InfoNCELoss`.

    Args:
        temperature: Positive number in units of similarity, where it starts.
        bias: Where it starts.
        average_over, shared: See `EmbeddingLoss`.

    Reference: Zhai et al. 2023, https://arxiv.org/abs/2303.15343.

    Examples:
        >>> query, document = keras.Input((4,)), keras.Input((3,))
        >>> towers = [keras.layers.Dense(8)(query), keras.layers.Dense(8)(document)]
        >>> model = keras_epos.MetricLearningModel([query, document], keras.layers.Concatenate()(towers))
        >>> model.compile("adam", loss=keras_epos.SigLIPLoss())
    """

    needs_adoption = True

    def __init__(self, temperature=0.1, bias=-10.0, **shared):
        super().__init__(**shared)
        self.temperature = number("temperature", temperature, "(0, inf)")
        self.bias = number("bias", bias, "(-inf, inf)")

    def build(self, embedding_dim):
        # As in the paper the logarithm is what is learned: it keeps the temperature positive.
        for name, value in (("log_scale", -math.log(self.temperature)), ("bias", self.bias)):
            self._layer.add_weight(shape=(), initializer=keras.initializers.Constant(value), name=name)

    def formula(self, similarity, own, other):
        log_scale, bias = (ops.convert_to_tensor(weight) for weight in self._layer.weights)
        logits = ops.exp(log_scale) * similarity + bias
        total = masked_sum(ops.softplus(-logits), own) + masked_sum(ops.softplus(logits), other)
        number = ops.cast(ops.any(own, axis=-1), total.dtype)
        return Terms(total, number, number)
