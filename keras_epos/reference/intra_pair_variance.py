"""Intra-pair variance loss."""

import numpy as np

from keras_epos.reference.pairs import candidates, cosine
from keras_epos.reference.strategies import everything, negatives_of
from keras_epos.reference.terms import empty_terms, hinge


def intra_pair_variance(
    labels,
    embeddings,
    positive_epsilon=0.01,
    negative_epsilon=0.01,
    positives=everything,
    negatives=everything,
    ignore_label=None,
):
    """Yu and Tao 2019: `E_p [max(0, (1 - eps) E[S_p] - S_p)^2] + E_n [max(0, S_n - (1 + eps) E[S_n])^2]`.

    Expectations are means over the chosen pairs of the batch. Totals are scaled to make the mean over the anchors that
    have pairs this sum; `E[S]` has a gradient.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    near, far = [], []
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        pulled = positives(similarity[a], same)
        pushed = negatives_of(similarity, a, pulled, other, negatives)
        near += [(a, p) for p in pulled]
        far += [(a, n) for n in pushed]
        terms.valid[a] = bool(pulled or pushed)
    number = terms.valid.sum()
    for pairs, sign, factor in ((near, -1, 1 - positive_epsilon), (far, 1, 1 + negative_epsilon)):
        mean = np.mean([similarity[pair] for pair in pairs] or [0])
        hinges = {pair: hinge(sign * (similarity[pair] - factor * mean)) for pair in pairs}
        for a, j in pairs:
            terms.total[a] += number * hinges[a, j] ** 2 / len(pairs)
            terms.active[a] = terms.active[a] or hinges[a, j] > 0
            through_mean = factor * np.mean(list(hinges.values()))
            terms.weights[a, j] = number * 2 * sign * (hinges[a, j] - through_mean) / len(pairs)
    return terms
