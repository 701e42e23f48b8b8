"""N-pairs loss."""

import numpy as np

from keras_epos.reference.pairs import candidates, cosine
from keras_epos.reference.strategies import everything, negatives_for
from keras_epos.reference.terms import empty_terms


def n_pairs(labels, embeddings, normalize=False, positives=everything, negatives=everything, ignore_label=None):
    """Sohn 2016: sum over p of `log(1 + sum_n exp(f_a f_n - f_a f_p))`; strategies compare by cosine."""
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    product = similarity if normalize else np.asarray(embeddings, "float64") @ np.transpose(embeddings)
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        for p in positives(similarity[a], same):
            chosen = negatives_for(similarity, a, p, other, negatives)
            if not chosen:
                continue
            z = {n: np.exp(product[a, n] - product[a, p]) for n in chosen}
            denominator = 1 + sum(z.values())
            terms.total[a] += np.log(denominator)
            terms.valid[a] += 1
            terms.active[a] += 1
            for n in chosen:
                terms.weights[a, n] += z[n] / denominator
                terms.weights[a, p] -= z[n] / denominator
    return terms
