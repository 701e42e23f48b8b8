"""Binomial deviance loss."""

import numpy as np

from keras_epos.reference.pairs import candidates, cosine
from keras_epos.reference.strategies import everything, negatives_of
from keras_epos.reference.terms import empty_terms


def binomial_deviance(
    labels,
    embeddings,
    alpha=2.0,
    beta=50.0,
    base=0.5,
    positives=everything,
    negatives=everything,
    ignore_label=None,
):
    """Yi et al. 2014: mean of `log(1 + exp(alpha (base - S_ap)))` plus mean of `log(1 + exp(beta (S_an - base)))`."""
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        pulled = positives(similarity[a], same)
        pushed = negatives_of(similarity, a, pulled, other, negatives)
        terms.valid[a] = bool(same)
        terms.active[a] = bool(pulled or pushed)
        for chosen, sharpness in ((pulled, -alpha), (pushed, beta)):
            for j in chosen:
                z = np.exp(sharpness * (similarity[a, j] - base))
                terms.total[a] += np.log1p(z) / len(chosen)
                terms.weights[a, j] = sharpness * z / (1 + z) / len(chosen)
    return terms
