"""Angular loss."""

import numpy as np

from keras_epos.reference.pairs import candidates, cosine
from keras_epos.reference.strategies import everything, negatives_of
from keras_epos.reference.terms import empty_terms


def angular(labels, embeddings, alpha=45.0, positives=everything, negatives=everything, ignore_label=None):
    """Wang et al. 2017: sum over p of `log(1 + sum_n exp(4 tan^2(alpha) (a + p)'n - 2 (1 + tan^2(alpha)) a'p))`."""
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    t = np.tan(np.radians(alpha)) ** 2
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        pulled = positives(similarity[a], same)
        pushed = negatives_of(similarity, a, pulled, other, negatives)
        for p in pulled if pushed else []:
            f = {n: 4 * t * (similarity[a, n] + similarity[p, n]) - 2 * (1 + t) * similarity[a, p] for n in pushed}
            denominator = 1 + sum(np.exp(f[n]) for n in pushed)
            terms.total[a] += np.log(denominator)
            terms.valid[a] += 1
            terms.active[a] += 1
            for n in pushed:
                q = np.exp(f[n]) / denominator
                terms.weights[a, n] += 4 * t * q
                terms.weights[p, n] += 4 * t * q
                terms.weights[a, p] -= 2 * (1 + t) * q
    return terms
