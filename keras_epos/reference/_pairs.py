"""Losses that sum up, or average, a term of each pair."""

import numpy as np

from keras_epos.reference._similarity import cosine, nearness, unit
from keras_epos.reference._strategies import everything, sides
from keras_epos.reference._terms import add_hinge, empty_terms, hinge

__all__ = [
    "binomial_deviance",
    "contrastive",
    "intra_pair_variance",
    "margin",
    "ranked_list",
    "snr_contrastive",
    "threshold_consistent",
]


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
    for a, pulled, pushed in sides(labels, similarity, positives, negatives, ignore_label):
        for p in pulled:
            add_hinge(terms, a, p, positive_margin - similarity[a, p], -1)
        for n in pushed:
            add_hinge(terms, a, n, similarity[a, n] - negative_margin, 1)
    return terms


def margin(labels, embeddings, margin=0.2, boundary=1.2, positives=everything, negatives=everything, ignore_label=None):
    """Wu et al. 2017: sum of `max(0, margin + D_ap - boundary)` and of `max(0, margin - D_an + boundary)`.

    `boundary` is a number, or one for each class.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    s, slope = nearness(embeddings, "euclidean")
    for a, pulled, pushed in sides(labels, similarity, positives, negatives, ignore_label):
        beta = boundary if np.ndim(boundary) == 0 else boundary[labels[a]]
        for p in pulled:
            add_hinge(terms, a, p, margin - s[a, p] - beta, -slope[a, p])
        for n in pushed:
            add_hinge(terms, a, n, margin + s[a, n] + beta, slope[a, n])
    return terms


def snr_contrastive(
    labels,
    embeddings,
    positive_margin=0.0,
    negative_margin=1.0,
    normalize=True,
    positives=everything,
    negatives=everything,
    ignore_label=None,
):
    """Yuan et al. 2019: sum of `max(0, d_ap - m+)` and of `max(0, m- - d_an)` with `d_ij = var(f_i - f_j) / var(f_i)`.

    Anchors whose variance is lost beside their length have `d = 0`. Weights are derivatives by inner products, with the
    norms and the means of all rows held fixed; they do not determine the gradient, in which these change too.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    rows = unit(embeddings) if normalize else np.asarray(embeddings, "float64")
    for a, pulled, pushed in sides(labels, similarity, positives, negatives, ignore_label):
        signal = rows.shape[1] * np.var(rows[a])
        has_signal = signal > 1e-6 * rows[a] @ rows[a]
        slope = 2 / signal if has_signal else 0
        d = [np.var(rows[a] - row) / np.var(rows[a]) if has_signal else 0 for row in rows]
        for p in pulled:
            add_hinge(terms, a, p, d[p] - positive_margin, -slope)
        for n in pushed:
            add_hinge(terms, a, n, negative_margin - d[n], slope)
    return terms


def binomial_deviance(
    labels,
    embeddings,
    alpha=2.0,
    beta=50.0,
    base=0.5,
    positives=everything,
    negatives=everything,
    ignore_label=None,
):
    """Yi et al. 2014: mean of `log(1 + exp(alpha (base - S_ap)))` plus mean of `log(1 + exp(beta (S_an - base)))`."""
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    for a, pulled, pushed in sides(labels, similarity, positives, negatives, ignore_label):
        terms.valid[a] = 1
        terms.active[a] = bool(pulled or pushed)
        for chosen, sharpness in ((pulled, -alpha), (pushed, beta)):
            for j in chosen:
                z = np.exp(sharpness * (similarity[a, j] - base))
                terms.total[a] += np.log1p(z) / len(chosen)
                terms.weights[a, j] = sharpness * z / (1 + z) / len(chosen)
    return terms


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
    for a, pulled, pushed in sides(labels, similarity, positives, negatives, ignore_label):
        terms.valid[a] = 1
        too_far = [p for p in pulled if hinge(-s[a, p] - (alpha - margin))]
        too_near = [n for n in pushed if hinge(alpha + s[a, n])]
        for violating, sign, radius, temperature, share in (
            (too_far, -1, alpha - margin, positive_sharpness, 1 - balance),
            (too_near, 1, alpha, sharpness, balance),
        ):
            w = {j: np.exp(temperature * sign * (radius + fixed[a, j])) for j in violating}
            terms.active[a] = terms.active[a] or bool(violating)
            for j in violating:
                terms.total[a] += share * w[j] * sign * (radius + s[a, j]) / sum(w.values())
                terms.weights[a, j] = share * w[j] * sign * slope[a, j] / sum(w.values())
    return terms


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
    for a, pulled, pushed in sides(labels, similarity, positives, negatives, ignore_label):
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


def threshold_consistent(
    labels,
    embeddings,
    positive_margin=0.9,
    negative_margin=0.5,
    positive_weight=1.0,
    negative_weight=1.0,
    positives=everything,
    negatives=everything,
    ignore_label=None,
):
    """Zhang et al. 2024: the mean of `m+ - S_p` over the pairs below `m+`, and of `S_n - m-` over those above `m-`.

    Totals are scaled to make the mean over the anchors that have pairs this sum.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    near, far = [], []
    for a, pulled, pushed in sides(labels, similarity, positives, negatives, ignore_label):
        near += [(a, p) for p in pulled if hinge(positive_margin - similarity[a, p])]
        far += [(a, n) for n in pushed if hinge(similarity[a, n] - negative_margin)]
        terms.valid[a] = bool(pulled or pushed)
    number = terms.valid.sum()
    for pairs, weight, sign, border in (
        (near, positive_weight, -1, positive_margin),
        (far, negative_weight, 1, negative_margin),
    ):
        for a, j in pairs:
            terms.total[a] += number * weight * sign * (similarity[a, j] - border) / len(pairs)
            terms.weights[a, j] = number * weight * sign / len(pairs)
            terms.active[a] = 1
    return terms
