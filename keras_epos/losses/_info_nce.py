"""InfoNCE loss of two towers."""

from keras import ops

from keras_epos._checks import number
from keras_epos.losses._names import registered
from keras_epos.losses._proxy_loss import own_against_others
from keras_epos.losses._terms import Terms
from keras_epos.losses._two_towers import TwoTowerLoss


@registered("info_nce")
class InfoNCELoss(TwoTowerLoss):
    """Finds each query's document among those of the batch, and each document's query; filters false negatives.

        loss_i = (q_i + d_i) / 2
        q_i = log(1 + sum_j exp((S_ij - S_ii) / temperature)),  over the documents j that are negatives of query i
        d_i = log(1 + sum_j exp((S_ji - S_ii) / temperature)),  over the queries j that are negatives of document i
        weight of j for query i = exp((S_ij - S_ii) / temperature) / exp(q_i) / temperature / 2,  and d_i likewise

    Negatives are pairs of other labels. With `false_negative_margin` those that are more similar than
    `S_ii + false_negative_margin` are left out too: they may well show the same. A pair without any negative is left
    out of the mean.

    - Needs: a model whose output is the query's embedding followed by the document's; see `TwoTowerLoss`. The more
      pairs in a batch the better.
    - Choose it when: samples come as pairs of two kinds: photograph and drawing, image and text, question and answer.
    - See also: `SigLIPLoss`, `NTXentLoss` for one kind of samples with labels.

    Args:
        temperature: Positive number in units of similarity; lower looks only at the nearest negatives.
        false_negative_margin: Number in [0, 2], in units of similarity, or `None` to go by labels alone. Zhang et al.
            2025 take 0.1.
        symmetric: Whether documents look for their queries too; otherwise `loss_i = q_i`.
        average_over, shared: See `EmbeddingLoss`.

    References: van den Oord et al. 2018, https://arxiv.org/abs/1807.03748; Radford et al. 2021,
    https://arxiv.org/abs/2103.00020; the filter: Zhang et al. 2025, https://arxiv.org/abs/2506.05176.

    Examples:
        >>> queries = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
        >>> documents = np.array([[0.8, 0.6], [0.0, 1.0], [1.0, 0.0]])
        >>> loss = keras_epos.InfoNCELoss(0.1)
        >>> print(f"{loss(np.arange(3), np.concatenate([queries, documents], axis=1)):.3f}")
        1.984
    """

    def __init__(self, temperature=0.05, false_negative_margin=None, symmetric=True, **shared):
        super().__init__(**shared)
        self.temperature = number("temperature", temperature, "(0, inf)")
        if false_negative_margin is not None:
            number("false_negative_margin", false_negative_margin, "[0, 2]", hint="Pass None to go by labels alone.")
        self.false_negative_margin = false_negative_margin
        self.symmetric = symmetric

    def formula(self, similarity, own, other):
        directions = [(similarity, own, other)]
        if self.symmetric:
            directions.append((ops.transpose(similarity), own, ops.transpose(other)))
        found = [self._of_one_direction(*direction) for direction in directions]
        total = sum(value for value, _ in found) / len(found)
        valid = ops.cast(sum(some for _, some in found) > 0, total.dtype)
        return Terms(total, valid, valid)

    def _of_one_direction(self, similarity, own, other):
        """Value of each row, `(B,)`, and 1 or 0 for whether it has a negative."""
        if self.false_negative_margin is not None:
            constant = ops.stop_gradient(similarity)
            border = ops.sum(ops.where(own, constant, 0), axis=-1, keepdims=True) + self.false_negative_margin
            other = ops.logical_and(other, constant <= border)
        some = ops.any(other, axis=-1)
        value = ops.softplus(own_against_others(similarity / self.temperature, own, other))
        return ops.where(some, value, 0), ops.cast(some, similarity.dtype)
