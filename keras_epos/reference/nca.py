"""Neighbourhood components analysis loss."""

import numpy as np

from keras_epos.reference.pairs import candidates, cosine, nearness
from keras_epos.reference.strategies import everything, negatives_of
from keras_epos.reference.terms import empty_terms


def nca(labels, embeddings, scale=1.0, positives=everything, negatives=everything, ignore_label=None):
    """Goldberger et al. 2005: `-log(sum_p exp(-scale D_ap^2) / sum_j exp(-scale D_aj^2))`, j over p and n."""
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    s, slope = nearness(embeddings, "squared_euclidean")
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        pulled = positives(similarity[a], same)
        pushed = negatives_of(similarity, a, pulled, other, negatives)
        terms.valid[a] = bool(same)
        if not (pulled and pushed):
            continue
        z = {j: np.exp(scale * s[a, j]) for j in [*pulled, *pushed]}
        near, total = sum(z[p] for p in pulled), sum(z.values())
        terms.total[a] = -np.log(near / total)
        terms.active[a] = 1
        for j in z:
            terms.weights[a, j] = (z[j] / total - (z[j] / near if j in pulled else 0)) * scale * slope[a, j]
    return terms
