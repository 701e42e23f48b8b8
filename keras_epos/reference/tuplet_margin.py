"""Tuplet margin loss."""

import numpy as np

from keras_epos.reference.pairs import candidates, cosine
from keras_epos.reference.strategies import everything, negatives_for
from keras_epos.reference.terms import empty_terms


def tuplet_margin(
    labels,
    embeddings,
    margin=5.73,
    scale=64.0,
    positives=everything,
    negatives=everything,
    ignore_label=None,
):
    """Yu and Tao 2019: sum over p of `log(1 + sum_n exp(scale (cos theta_an - cos(theta_ap - margin))))`, in degrees.

    At `theta_ap` of 0 or 180 degrees the derivative by the cosine is taken for `cos margin`.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    beta = np.radians(margin)
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        for p in positives(similarity[a], same):
            chosen = negatives_for(similarity, a, p, other, negatives)
            if not chosen:
                continue
            theta = np.arccos(np.clip(similarity[a, p], -1, 1))
            if np.sin(theta) < 1e-4:
                theta, slope = np.round(theta / np.pi) * np.pi, np.cos(beta)
            else:
                slope = np.sin(theta - beta) / np.sin(theta)
            z = {n: np.exp(scale * (similarity[a, n] - np.cos(theta - beta))) for n in chosen}
            denominator = 1 + sum(z.values())
            terms.total[a] += np.log(denominator)
            terms.valid[a] += 1
            terms.active[a] += 1
            for n in chosen:
                weight = scale * z[n] / denominator
                terms.weights[a, n] += weight
                terms.weights[a, p] -= weight * slope
    return terms
