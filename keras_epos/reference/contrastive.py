"""Contrastive loss."""

from keras_epos.reference.pairs import candidates, cosine
from keras_epos.reference.strategies import everything, negatives_of
from keras_epos.reference.terms import add_hinge, empty_terms


def contrastive(
    labels,
    embeddings,
    positive_margin=1.0,
    negative_margin=0.5,
    positives=everything,
    negatives=everything,
    ignore_label=None,
):
    """Hadsell et al. 2006, cosine form: sum of `max(0, m+ - S_ap)` and of `max(0, S_an - m-)`."""
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        pulled = positives(similarity[a], same)
        pushed = negatives_of(similarity, a, pulled, other, negatives)
        for p in pulled:
            add_hinge(terms, a, p, positive_margin - similarity[a, p], -1)
        for n in pushed:
            add_hinge(terms, a, n, similarity[a, n] - negative_margin, 1)
    return terms
