"""Losses with a logarithm of a sum over pairs: the hardest pairs of an anchor count most."""

import numpy as np

from keras_epos.reference._similarity import cosine, nearness
from keras_epos.reference._strategies import anchors, everything, negatives_of, sides, tuplets
from keras_epos.reference._terms import empty_terms, hinge

__all__ = [
    "angular",
    "circle",
    "generalized_lifted_structure",
    "lifted_structure",
    "multi_similarity",
    "n_pairs",
    "nca",
    "nt_xent",
    "sup_con",
    "tuplet_margin",
]


def n_pairs(labels, embeddings, normalize=False, positives=everything, negatives=everything, ignore_label=None):
    """Sohn 2016: sum over p of `log(1 + sum_n exp(f_a f_n - f_a f_p))`; strategies compare by cosine."""
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    product = similarity if normalize else np.asarray(embeddings, "float64") @ np.transpose(embeddings)
    for a, p, chosen in tuplets(labels, similarity, positives, negatives, ignore_label):
        z = {n: np.exp(product[a, n] - product[a, p]) for n in chosen}
        add_tuplet(terms, a, p, z, 1, -1)
    return terms


def nt_xent(labels, embeddings, temperature=0.1, positives=everything, negatives=everything, ignore_label=None):
    """Sohn 2016: sum over p of `log(1 + sum_n exp((S_an - S_ap) / temperature))`."""
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    for a, p, chosen in tuplets(labels, similarity, positives, negatives, ignore_label):
        z = {n: np.exp((similarity[a, n] - similarity[a, p]) / temperature) for n in chosen}
        add_tuplet(terms, a, p, z, 1 / temperature, -1 / temperature)
    return terms


def tuplet_margin(
    labels,
    embeddings,
    margin=5.73,
    scale=64.0,
    positives=everything,
    negatives=everything,
    ignore_label=None,
):
    """Yu and Tao 2019: sum over p of `log(1 + sum_n exp(scale (cos theta_an - cos(theta_ap - margin))))`, in degrees.

    At `theta_ap` of 0 or 180 degrees the derivative by the cosine is taken for `cos margin`.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    beta = np.radians(margin)
    for a, p, chosen in tuplets(labels, similarity, positives, negatives, ignore_label):
        theta = np.arccos(np.clip(similarity[a, p], -1, 1))
        if np.sin(theta) < 1e-4:
            theta, slope = np.round(theta / np.pi) * np.pi, np.cos(beta)
        else:
            slope = np.sin(theta - beta) / np.sin(theta)
        z = {n: np.exp(scale * (similarity[a, n] - np.cos(theta - beta))) for n in chosen}
        add_tuplet(terms, a, p, z, scale, -scale * slope)
    return terms


def add_tuplet(terms, anchor, positive, z, by_negative, by_positive):
    """Add the term `log(1 + sum z)` of an anchor and a positive, with `z` a dictionary by negative.

    `by_negative` and `by_positive` are the derivatives of each `log z` by the similarities of the anchor to either.
    """
    denominator = 1 + sum(z.values())
    terms.total[anchor] += np.log(denominator)
    terms.valid[anchor] += 1
    terms.active[anchor] += 1
    for n in z:
        terms.weights[anchor, n] += by_negative * z[n] / denominator
        terms.weights[anchor, positive] += by_positive * z[n] / denominator


def sup_con(labels, embeddings, temperature=0.1, positives=everything, negatives=everything, ignore_label=None):
    """Khosla et al. 2020, `L_out`: mean over p of `-log(exp(S_ap / t) / sum_j exp(S_aj / t))`, j over p and n."""
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    for a, pulled, pushed in sides(labels, similarity, positives, negatives, ignore_label):
        terms.valid[a] = 1
        if not (pulled and pushed):
            continue
        z = {j: np.exp(similarity[a, j] / temperature) for j in [*pulled, *pushed]}
        softmax = {j: z[j] / sum(z.values()) for j in z}
        terms.total[a] = np.mean([-np.log(softmax[p]) for p in pulled])
        terms.active[a] = 1
        for j in z:
            terms.weights[a, j] = (softmax[j] - (j in pulled) / len(pulled)) / temperature
    return terms


def nca(labels, embeddings, scale=1.0, positives=everything, negatives=everything, ignore_label=None):
    """Goldberger et al. 2005: `-log(sum_p exp(-scale D_ap^2) / sum_j exp(-scale D_aj^2))`, j over p and n."""
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    s, slope = nearness(embeddings, "squared_euclidean")
    for a, pulled, pushed in sides(labels, similarity, positives, negatives, ignore_label):
        terms.valid[a] = 1
        if not (pulled and pushed):
            continue
        z = {j: np.exp(scale * s[a, j]) for j in [*pulled, *pushed]}
        near, total = sum(z[p] for p in pulled), sum(z.values())
        terms.total[a] = -np.log(near / total)
        terms.active[a] = 1
        for j in z:
            terms.weights[a, j] = (z[j] / total - (z[j] / near if j in pulled else 0)) * scale * slope[a, j]
    return terms


def circle(
    labels,
    embeddings,
    margin=0.4,
    gamma=80.0,
    positives=everything,
    negatives=everything,
    ignore_label=None,
    constants_at=None,
):
    """Sun et al. 2020: `log(1 + sum_p exp(-gamma alpha_p (S_ap - (1 - m))) sum_n exp(gamma alpha_n (S_an - m)))`.

    `alpha_p = [1 + m - S_ap]_+` and `alpha_n = [S_an + m]_+` are constants of a step, those of the embeddings
    `constants_at`, or of the same ones.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    fixed = similarity if constants_at is None else cosine(constants_at)
    for a, pulled, pushed in sides(labels, similarity, positives, negatives, ignore_label):
        terms.valid[a] = 1
        if not (pulled and pushed):
            continue
        slope = {p: -gamma * max(0, 1 + margin - fixed[a, p]) for p in pulled}
        slope |= {n: gamma * max(0, fixed[a, n] + margin) for n in pushed}
        z = {p: np.exp(slope[p] * (similarity[a, p] - (1 - margin))) for p in pulled}
        z |= {n: np.exp(slope[n] * (similarity[a, n] - margin)) for n in pushed}
        product = sum(z[p] for p in pulled) * sum(z[n] for n in pushed)
        terms.total[a] = np.log1p(product)
        terms.active[a] = 1
        for side in (pulled, pushed):
            for j in side:
                terms.weights[a, j] = product / (1 + product) * z[j] / sum(z[k] for k in side) * slope[j]
    return terms


def angular(labels, embeddings, alpha=45.0, positives=everything, negatives=everything, ignore_label=None):
    """Wang et al. 2017: sum over p of `log(1 + sum_n exp(4 tan^2(alpha) (a + p)'n - 2 (1 + tan^2(alpha)) a'p))`."""
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    t = np.tan(np.radians(alpha)) ** 2
    for a, pulled, pushed in sides(labels, similarity, positives, negatives, ignore_label):
        for p in pulled if pushed else []:
            f = {n: 4 * t * (similarity[a, n] + similarity[p, n]) - 2 * (1 + t) * similarity[a, p] for n in pushed}
            denominator = 1 + sum(np.exp(f[n]) for n in pushed)
            terms.total[a] += np.log(denominator)
            terms.valid[a] += 1
            terms.active[a] += 1
            for n in pushed:
                q = np.exp(f[n]) / denominator
                terms.weights[a, n] += 4 * t * q
                terms.weights[p, n] += 4 * t * q
                terms.weights[a, p] -= 2 * (1 + t) * q
    return terms


def multi_similarity(
    labels,
    embeddings,
    alpha=2.0,
    beta=40.0,
    base=0.5,
    epsilon=0.1,
    positives_chosen="instead_of_mining",
    positives=everything,
    negatives=everything,
    ignore_label=None,
):
    """Wang et al. 2019; an anchor is active when the mining step leaves it any pair.

    `log(1 + sum_p exp(-alpha (S_ap - base))) / alpha + log(1 + sum_n exp(beta (S_an - base))) / beta` over what is
    left of `S_ap < max_n S_an + epsilon` and `S_an > min_p S_ap - epsilon`.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    for a, same, other in anchors(labels, ignore_label):
        s = similarity[a]
        if epsilon is None:
            pulled = positives(s, same)
        else:
            not_easy = [p for p in same if s[p] < max(s[n] for n in other) + epsilon]
            order = "after_mining" if positives is everything else positives_chosen
            if order == "before_mining":
                known = positives(s, same)
                pulled = [p for p in known if p in not_easy]
            elif order == "instead_of_mining":
                known, pulled = same, positives(s, same)
            else:
                known, pulled = same, positives(s, not_easy)
            other = [n for n in other if s[n] > min((s[p] for p in known), default=np.inf) - epsilon]
        pushed = negatives_of(similarity, a, pulled, other, negatives)
        terms.valid[a] = 1
        terms.active[a] = bool(pulled or pushed)
        for chosen, sharpness in ((pulled, -alpha), (pushed, beta)):
            z = {j: np.exp(sharpness * (s[j] - base)) for j in chosen}
            terms.total[a] += np.log1p(sum(z.values())) / abs(sharpness)
            for j in chosen:
                terms.weights[a, j] = np.sign(sharpness) * z[j] / (1 + sum(z.values()))
    return terms


def lifted_structure(labels, embeddings, margin=1.0, positives=everything, negatives=everything, ignore_label=None):
    """Oh Song et al. 2016: sum over p of `max(0, J)^2 / 2`, `J = D_ap + log(sum of exp(margin - D) of both ends)`.

    The sum is over the negatives of `a` and over those of `p`.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    s, slope = nearness(embeddings, "euclidean")
    chosen = list(sides(labels, similarity, positives, negatives, ignore_label))
    pushed_by = {a: pushed for a, _, pushed in chosen}
    for a, pulled, _ in chosen:
        for p in pulled:
            terms.valid[a] += 1
            z = {(end, n): np.exp(margin + s[end, n]) for end in (a, p) for n in pushed_by[end]}
            j = np.log(sum(z.values())) - s[a, p] if z else 0
            if not hinge(j):
                continue
            terms.total[a] += j**2 / 2
            terms.active[a] += 1
            terms.weights[a, p] -= j * slope[a, p]
            for end, n in z:
                terms.weights[end, n] += j * z[end, n] / sum(z.values()) * slope[end, n]
    return terms


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
    for a, pulled, pushed in sides(labels, similarity, positives, negatives, ignore_label):
        terms.valid[a] = 1
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
