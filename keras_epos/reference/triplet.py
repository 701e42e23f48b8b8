"""Triplet loss."""

import numpy as np

from keras_epos.reference.pairs import candidates, cosine, nearness
from keras_epos.reference.strategies import everything, negatives_for, semi_hard
from keras_epos.reference.terms import empty_terms, hinge


def triplet(
    labels,
    embeddings,
    margin=0.2,
    metric="squared_euclidean",
    positives=everything,
    negatives=semi_hard,
    ignore_label=None,
):
    """Schroff et al. 2015: sum over (p, n) of `max(0, s_an - s_ap + margin)`, or `log(1 + exp(s_an - s_ap))`."""
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    s, slope = nearness(embeddings, metric)
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        for p in positives(similarity[a], same):
            for n in negatives_for(similarity, a, p, other, negatives):
                gap = s[a, n] - s[a, p]
                if margin == "soft":
                    value, weight = np.log1p(np.exp(gap)), 1 / (1 + np.exp(-gap))
                else:
                    value, weight = hinge(gap + margin), float(hinge(gap + margin) > 0)
                terms.total[a] += value
                terms.valid[a] += 1
                terms.active[a] += weight > 0
                terms.weights[a, p] -= weight * slope[a, p]
                terms.weights[a, n] += weight * slope[a, n]
    return terms
