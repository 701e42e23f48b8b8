"""Ranked list loss."""

import numpy as np

from keras_epos.reference.pairs import candidates, cosine, nearness
from keras_epos.reference.strategies import everything, negatives_of
from keras_epos.reference.terms import empty_terms, hinge


def ranked_list(
    labels,
    embeddings,
    alpha=1.2,
    margin=0.4,
    sharpness=10.0,
    positive_sharpness=0.0,
    balance=0.5,
    positives=everything,
    negatives=everything,
    ignore_label=None,
    constants_at=None,
):
    """Wang et al. 2019: `(1 - lambda) L_P + lambda L_N` with weighted means of the hinges on each side.

    `L_P = sum w_p (d_ap - (alpha - m)) / sum w_p` and `L_N = sum w_n (alpha - d_an) / sum w_n`, where
    `w_p = exp(T_p (d_ap - (alpha - m)))` and `w_n = exp(T_n (alpha - d_an))` are constants of a step, those of the
    embeddings `constants_at`, or of the same ones. Only pairs with a term above 0 are in the sums.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    s, slope = nearness(embeddings, "euclidean")
    fixed = s if constants_at is None else nearness(constants_at, "euclidean")[0]
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        pulled = positives(similarity[a], same)
        pushed = negatives_of(similarity, a, pulled, other, negatives)
        terms.valid[a] = bool(same)
        sides = (
            (
                [p for p in pulled if hinge(-s[a, p] - (alpha - margin))],
                -1,
                alpha - margin,
                positive_sharpness,
                1 - balance,
            ),
            ([n for n in pushed if hinge(alpha + s[a, n])], 1, alpha, sharpness, balance),
        )
        for violating, sign, radius, temperature, share in sides:
            w = {j: np.exp(temperature * sign * (radius + fixed[a, j])) for j in violating}
            terms.active[a] = terms.active[a] or bool(violating)
            for j in violating:
                terms.total[a] += share * w[j] * sign * (radius + s[a, j]) / sum(w.values())
                terms.weights[a, j] = share * w[j] * sign * slope[a, j] / sum(w.values())
    return terms
