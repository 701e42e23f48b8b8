"""Margin loss."""

import numpy as np

from keras_epos.reference.pairs import candidates, cosine, nearness
from keras_epos.reference.strategies import everything, negatives_of
from keras_epos.reference.terms import add_hinge, empty_terms


def margin(labels, embeddings, margin=0.2, boundary=1.2, positives=everything, negatives=everything, ignore_label=None):
    """Wu et al. 2017: sum of `max(0, margin + D_ap - boundary)` and of `max(0, margin - D_an + boundary)`.

    `boundary` is a number, or one for each class.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    s, slope = nearness(embeddings, "euclidean")
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        beta = boundary if np.ndim(boundary) == 0 else boundary[labels[a]] if same else 0
        pulled = positives(similarity[a], same)
        pushed = negatives_of(similarity, a, pulled, other, negatives)
        for p in pulled:
            add_hinge(terms, a, p, margin - s[a, p] - beta, -slope[a, p])
        for n in pushed:
            add_hinge(terms, a, n, margin + s[a, n] + beta, slope[a, n])
    return terms
