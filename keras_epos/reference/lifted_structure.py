"""Lifted structure loss."""

import numpy as np

from keras_epos.reference.pairs import candidates, cosine, nearness
from keras_epos.reference.strategies import everything, negatives_of
from keras_epos.reference.terms import empty_terms, hinge


def lifted_structure(labels, embeddings, margin=1.0, positives=everything, negatives=everything, ignore_label=None):
    """Oh Song et al. 2016: sum over p of `max(0, J)^2 / 2`, `J = D_ap + log(sum of exp(margin - D) of both ends)`.

    The sum is over the negatives of `a` and over those of `p`.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    s, slope = nearness(embeddings, "euclidean")
    pulled, pushed = [], []
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        pulled.append(positives(similarity[a], same))
        pushed.append(negatives_of(similarity, a, pulled[a], other, negatives))
    for a in range(len(labels)):
        for p in pulled[a]:
            terms.valid[a] += 1
            z = {(end, n): np.exp(margin + s[end, n]) for end in (a, p) for n in pushed[end]}
            j = np.log(sum(z.values())) - s[a, p] if z else 0
            if not hinge(j):
                continue
            terms.total[a] += j**2 / 2
            terms.active[a] += 1
            terms.weights[a, p] -= j * slope[a, p]
            for end, n in z:
                terms.weights[end, n] += j * z[end, n] / sum(z.values()) * slope[end, n]
    return terms
