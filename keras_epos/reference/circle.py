"""Circle loss."""

import numpy as np

from keras_epos.reference.pairs import candidates, cosine
from keras_epos.reference.strategies import everything, negatives_of
from keras_epos.reference.terms import empty_terms


def circle(
    labels,
    embeddings,
    margin=0.4,
    gamma=80.0,
    positives=everything,
    negatives=everything,
    ignore_label=None,
    constants_at=None,
):
    """Sun et al. 2020: `log(1 + sum_p exp(-gamma alpha_p (S_ap - (1 - m))) sum_n exp(gamma alpha_n (S_an - m)))`.

    `alpha_p = [1 + m - S_ap]_+` and `alpha_n = [S_an + m]_+` are constants of a step, those of the embeddings
    `constants_at`, or of the same ones.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    fixed = similarity if constants_at is None else cosine(constants_at)
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        pulled = positives(similarity[a], same)
        pushed = negatives_of(similarity, a, pulled, other, negatives)
        terms.valid[a] = bool(same)
        if not (pulled and pushed):
            continue
        slope = {p: -gamma * max(0, 1 + margin - fixed[a, p]) for p in pulled}
        slope |= {n: gamma * max(0, fixed[a, n] + margin) for n in pushed}
        z = {p: np.exp(slope[p] * (similarity[a, p] - (1 - margin))) for p in pulled}
        z |= {n: np.exp(slope[n] * (similarity[a, n] - margin)) for n in pushed}
        product = sum(z[p] for p in pulled) * sum(z[n] for n in pushed)
        terms.total[a] = np.log1p(product)
        terms.active[a] = 1
        for side in (pulled, pushed):
            for j in side:
                terms.weights[a, j] = product / (1 + product) * z[j] / sum(z[k] for k in side) * slope[j]
    return terms
