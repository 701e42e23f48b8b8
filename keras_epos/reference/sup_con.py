"""Supervised contrastive loss."""

import numpy as np

from keras_epos.reference.pairs import candidates, cosine
from keras_epos.reference.strategies import everything, negatives_of
from keras_epos.reference.terms import empty_terms


def sup_con(labels, embeddings, temperature=0.1, positives=everything, negatives=everything, ignore_label=None):
    """Khosla et al. 2020, `L_out`: mean over p of `-log(exp(S_ap / t) / sum_j exp(S_aj / t))`, j over p and n."""
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        pulled = positives(similarity[a], same)
        pushed = negatives_of(similarity, a, pulled, other, negatives)
        terms.valid[a] = bool(same)
        if not (pulled and pushed):
            continue
        z = {j: np.exp(similarity[a, j] / temperature) for j in [*pulled, *pushed]}
        softmax = {j: z[j] / sum(z.values()) for j in z}
        terms.total[a] = np.mean([-np.log(softmax[p]) for p in pulled])
        terms.active[a] = 1
        for j in z:
            terms.weights[a, j] = (softmax[j] - (j in pulled) / len(pulled)) / temperature
    return terms
