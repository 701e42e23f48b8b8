"""NT-Xent."""

import numpy as np

from keras_epos.reference.pairs import candidates, cosine
from keras_epos.reference.strategies import everything, negatives_for
from keras_epos.reference.terms import empty_terms


def nt_xent(labels, embeddings, temperature=0.1, positives=everything, negatives=everything, ignore_label=None):
    """Sohn 2016: sum over p of `log(1 + sum_n exp((S_an - S_ap) / temperature))`."""
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        for p in positives(similarity[a], same):
            chosen = negatives_for(similarity, a, p, other, negatives)
            if not chosen:
                continue
            z = {n: np.exp((similarity[a, n] - similarity[a, p]) / temperature) for n in chosen}
            denominator = 1 + sum(z.values())
            terms.total[a] += np.log(denominator)
            terms.valid[a] += 1
            terms.active[a] += 1
            for n in chosen:
                weight = z[n] / denominator / temperature
                terms.weights[a, n] += weight
                terms.weights[a, p] -= weight
    return terms
