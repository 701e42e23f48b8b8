"""Losses that smooth a measure of an anchor's ranking: average precision, Recall@k, negatives before positives."""

import numpy as np

from keras_epos.reference._similarity import cosine
from keras_epos.reference._strategies import everything, sides
from keras_epos.reference._terms import empty_terms, hinge

__all__ = [
    "fast_ap",
    "pnp",
    "recall_at_k",
    "smooth_ap",
]


def fast_ap(labels, embeddings, num_bins=10, positives=everything, negatives=everything, ignore_label=None):
    """Cakir et al. 2019: `1 - sum_k h+_k H+_k / H_k / |P|` with soft histograms of squared distances from 0 to 4."""
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    width = 4 / num_bins
    place = np.clip((2 - 2 * similarity) / width, 0, num_bins)
    for a, pulled, pushed in sides(labels, similarity, positives, negatives, ignore_label):
        terms.valid[a] = 1
        if not pulled:
            continue
        h = np.zeros((2, num_bins + 1))
        for row, chosen in enumerate((pulled, pushed)):
            for j in chosen:
                for k in range(num_bins + 1):
                    h[row, k] += max(0, 1 - abs(place[a, j] - k))
        near, far = np.cumsum(h, axis=1)
        precisions = sum(h[0, k] * near[k] / (near + far)[k] for k in range(num_bins + 1) if h[0, k])
        terms.total[a] = 1 - precisions / len(pulled)
        terms.active[a] = hinge(terms.total[a]) > 0
        # Derivative by each h+_k and h-_k, which are in every H from k on; then by the distances that fill them.
        slope = np.zeros((2, num_bins + 1))
        for k in range(num_bins + 1):
            later = [m for m in range(k, num_bins + 1) if h[0, m]]
            by_total = sum(h[0, m] * near[m] / (near + far)[m] ** 2 for m in later)
            direct = near[k] / (near + far)[k] if near[k] + far[k] else 1
            slope[0, k] = -(direct + sum(h[0, m] / (near + far)[m] for m in later) - by_total) / len(pulled)
            slope[1, k] = by_total / len(pulled)
        for row, chosen in enumerate((pulled, pushed)):
            for j in chosen:
                k = min(int(place[a, j]), num_bins - 1)
                terms.weights[a, j] = (slope[row, k + 1] - slope[row, k]) / width * -2
    return terms


def smooth_ap(labels, embeddings, temperature=0.01, positives=everything, negatives=everything, ignore_label=None):
    """Brown et al. 2020: one minus the mean over p of `R(p, P) / R(p, P and N)`.

    `R(p, X) = 1 + sum_x sigmoid((S_ax - S_ap) / temperature)` over the `x` in `X` other than `p`; the anchor is in
    neither set.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    for a, pulled, pushed in sides(labels, similarity, positives, negatives, ignore_label):
        terms.valid[a] = 1
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


def pnp(
    labels,
    embeddings,
    variant="Dq",
    alpha=1.0,
    b=2.0,
    temperature=0.01,
    positives=everything,
    negatives=everything,
    ignore_label=None,
):
    """Li et al. 2021: the mean over p of `f(N_p)`, `N_p = sum_n sigmoid((S_an - S_ap) / temperature)`."""
    penalty, slope = {
        "O": (lambda x: x, lambda x: 1),
        "Iu": (lambda x: (1 + x) * np.log1p(x), lambda x: 1 + np.log1p(x)),
        "Ib": (lambda x: (b * x - np.log1p(b * x)) / b**2, lambda x: x / (1 + b * x)),
        "Ds": (np.log1p, lambda x: 1 / (1 + x)),
        "Dq": (lambda x: 1 - (1 + x) ** -alpha, lambda x: alpha * (1 + x) ** -(alpha + 1)),
    }[variant]
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    for a, pulled, pushed in sides(labels, similarity, positives, negatives, ignore_label):
        terms.valid[a] = 1
        terms.active[a] = bool(pulled and pushed)
        for p in pulled:
            soft = soft_comparisons(similarity[a], p, pushed, temperature)
            before = sum(soft.values())
            terms.total[a] += penalty(before) / len(pulled)
            for n in pushed:
                weight = slope(before) * soft[n] * (1 - soft[n]) / temperature / len(pulled)
                terms.weights[a, n] += weight
                terms.weights[a, p] -= weight
    return terms


def recall_at_k(
    labels,
    embeddings,
    k=(1, 2, 4, 8, 16),
    temperature=0.01,
    rank_temperature=1.0,
    positives=everything,
    negatives=everything,
    ignore_label=None,
):
    """Patel et al. 2022: one minus the mean over k of `min(k, sum_p sigmoid((k - r_p) / rank_temperature))` by the
    most that can be found, `min(k, |P|)`; `r_p = 1 + sum_x sigmoid((S_ax - S_ap) / temperature)`.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    for a, pulled, pushed in sides(labels, similarity, positives, negatives, ignore_label):
        terms.valid[a] = 1
        terms.active[a] = bool(pulled and pushed)
        if not (pulled and pushed):
            continue
        soft = {p: soft_comparisons(similarity[a], p, pulled + pushed, temperature) for p in pulled}
        for at in k:
            most = min(at, len(pulled))
            found = {p: sigmoid((at - 1 - sum(soft[p].values())) / rank_temperature) for p in pulled}
            terms.total[a] += (1 - min(at, sum(found.values())) / most) / len(k)
            if sum(found.values()) >= at:
                continue
            for p in pulled:
                by_rank = found[p] * (1 - found[p]) / rank_temperature / most / len(k)
                for x, s in soft[p].items():
                    terms.weights[a, x] += by_rank * s * (1 - s) / temperature
                    terms.weights[a, p] -= by_rank * s * (1 - s) / temperature
    return terms


def soft_comparisons(similarity, positive, references, temperature):
    """Softly, whether each other reference comes before a positive, by the similarities to one anchor."""
    return {x: sigmoid((similarity[x] - similarity[positive]) / temperature) for x in references if x != positive}


def sigmoid(x):
    return (1 + np.tanh(x / 2)) / 2
