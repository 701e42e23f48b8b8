"""Easy positive, hard negative loss."""

import numpy as np

from keras_epos.reference.pairs import candidates, cosine
from keras_epos.reference.terms import empty_terms, hinge


def easy_positive_hard_negative(labels, embeddings, temperature=0.1, semi_hard=False, ignore_label=None):
    """Xuan et al. 2020, as released: `-log(exp(S_ap / t) / (exp(S_ap / t) + exp(S_an / t)))` of one p and one n.

    The nearest positive that is no copy (`S_ap <= 0.9999`) and the nearest negative, or the nearest of those with
    `S_an <= S_ap`; only where both similarities are positive.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        s = similarity[a]
        same = [p for p in same if s[p] <= 0.9999]
        if not same:
            continue
        p = max(same, key=lambda j: s[j])
        other = [n for n in other if not semi_hard or not hinge(s[n] - s[p])]
        if not other:
            continue
        n = max(other, key=lambda j: s[j])
        if not (hinge(s[p]) and hinge(s[n])):
            continue
        chance = np.exp(s[p] / temperature) / (np.exp(s[p] / temperature) + np.exp(s[n] / temperature))
        terms.total[a] = -np.log(chance)
        terms.valid[a] = terms.active[a] = 1
        terms.weights[a, p] = -(1 - chance) / temperature
        terms.weights[a, n] = (1 - chance) / temperature
    return terms
