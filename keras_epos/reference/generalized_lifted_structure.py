"""Generalised lifted structure loss."""

import numpy as np

from keras_epos.reference.pairs import candidates, cosine, nearness
from keras_epos.reference.strategies import everything, negatives_of
from keras_epos.reference.terms import empty_terms, hinge


def generalized_lifted_structure(
    labels,
    embeddings,
    margin=1.0,
    metric="euclidean",
    positives=everything,
    negatives=everything,
    ignore_label=None,
):
    """Hermans et al. 2017: `max(0, log sum_p exp(D_ap) + log sum_n exp(margin - D_an))`, or softly `log(1 + ...)`."""
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    s, slope = nearness(embeddings, metric)
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        pulled = positives(similarity[a], same)
        pushed = negatives_of(similarity, a, pulled, other, negatives)
        terms.valid[a] = bool(same)
        if not (pulled and pushed):
            continue
        pull, push = np.exp(-s[a, pulled]), np.exp(s[a, pushed])
        if margin == "soft":
            product = pull.sum() * push.sum()
            terms.total[a], weight = np.log1p(product), product / (1 + product)
        else:
            violation = np.log(pull.sum()) + np.log(push.sum()) + margin
            terms.total[a], weight = hinge(violation), float(hinge(violation) > 0)
        terms.active[a] = weight > 0
        terms.weights[a, pulled] = -weight * pull / pull.sum() * slope[a, pulled]
        terms.weights[a, pushed] = weight * push / push.sum() * slope[a, pushed]
    return terms
