"""Smooth-AP loss."""

import numpy as np

from keras_epos.reference.pairs import candidates, cosine
from keras_epos.reference.strategies import everything, negatives_of
from keras_epos.reference.terms import empty_terms


def smooth_ap(labels, embeddings, temperature=0.01, positives=everything, negatives=everything, ignore_label=None):
    """Brown et al. 2020: one minus the mean over p of `R(p, P) / R(p, P and N)`.

    `R(p, X) = 1 + sum_x sigmoid((S_ax - S_ap) / temperature)` over the `x` in `X` other than `p`; the anchor is in
    neither set.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        terms.valid[a] = bool(same)
        pulled = positives(similarity[a], same)
        pushed = negatives_of(similarity, a, pulled, other, negatives)
        terms.active[a] = bool(pulled and pushed)
        for p in pulled:
            exponent = {x: (similarity[a, x] - similarity[a, p]) / temperature for x in pulled + pushed if x != p}
            soft = {x: (1 + np.tanh(exponent[x] / 2)) / 2 for x in exponent}
            among_positives = 1 + sum(soft[q] for q in pulled if q != p)
            among_all = among_positives + sum(soft[n] for n in pushed)
            terms.total[a] += (1 - among_positives / among_all) / len(pulled)
            for x in soft:
                by_rank = among_positives / among_all**2 - (x in pulled) / among_all
                weight = by_rank * soft[x] * (1 - soft[x]) / temperature / len(pulled)
                terms.weights[a, x] += weight
                terms.weights[a, p] -= weight
    return terms
