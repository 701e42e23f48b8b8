"""Every formula of the library in plain NumPy: float64, one loop an anchor, as the papers state them.

Nothing here is fast. It is what the tests compare the tensor code with, and what to read when a formula is in
doubt. A strategy is a function `(ease, candidates) -> chosen indices`; a loss takes its settings and two
strategies and returns `Terms`. Only NumPy is imported.

    from keras_epos import reference
    terms = reference.triplet(labels, embeddings, positives=reference.easy, negatives=reference.semi_hard)
    terms.mean("active"), terms.weights, reference.gradient(terms, embeddings)
"""

from functools import partial
from typing import NamedTuple

import numpy as np

# Distances below are taken for this one, at which a gradient still exists: the root has none at 0.
SMALLEST_DISTANCE = 1e-4


class Terms(NamedTuple):
    """What a loss is made of, for each anchor.

    Attributes:
        total: `(B,)`, the sum of the anchor's terms.
        valid: `(B,)`, how many terms it has.
        active: `(B,)`, how many of them have a gradient.
        weights: `(B, B)`, derivative of `total[a]` by the cosine similarity of `a` and `j`.
    """

    total: np.ndarray
    valid: np.ndarray
    active: np.ndarray
    weights: np.ndarray

    def mean(self, average_over="valid"):
        """Mean over the `"valid"` or over the `"active"` terms of the batch; 0 without any."""
        return self.total.sum() / max(getattr(self, average_over).sum(), 1)


def empty_terms(size):
    return Terms(np.zeros(size), np.zeros(size), np.zeros(size), np.zeros((size, size)))


# --- pairs ---


def unit(embeddings):
    """Rows divided by their norm; rows of zeros stay zero."""
    embeddings = np.asarray(embeddings, "float64")
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(norms == 0, 1, norms)


def cosine(embeddings):
    rows = unit(embeddings)
    return rows @ rows.T


def distance(embeddings):
    """Euclidean distances between the unit rows."""
    rows = unit(embeddings)
    return np.linalg.norm(rows[:, None] - rows[None], axis=-1)


def nearness(embeddings, metric):
    """More is nearer: `(s, ds/dS)`, the similarity or the negated distance and its slope by the cosine `S`."""
    d = distance(embeddings)
    if metric == "cosine":
        return cosine(embeddings), np.ones_like(d)
    if metric == "squared_euclidean":
        return -np.square(d), np.full_like(d, 2.0)
    at_least = np.maximum(d, SMALLEST_DISTANCE)
    return -at_least, np.where(d > SMALLEST_DISTANCE, 1 / at_least, 0.0)


def candidates(labels, anchor, ignore_label=None):
    """Positives and negatives of an anchor; none of either when one kind is missing."""
    known = [j for j in range(len(labels)) if ignore_label is None or labels[j] != ignore_label]
    positives = [j for j in known if j != anchor and labels[j] == labels[anchor]]
    negatives = [j for j in known if labels[j] != labels[anchor]]
    return (positives, negatives) if anchor in known and positives and negatives else ([], [])


# --- strategies: ease is S for positives and -S for negatives, so that more is easier ---


def everything(ease, candidates):
    return list(candidates)


def easy(ease, candidates, k=1, copies_above=0.9999):
    """The `k` of most ease; what lies above `copies_above` only when nothing else is left."""
    is_copy = {j: copies_above < 1 and ease[j] > copies_above for j in candidates}
    return sorted(candidates, key=lambda j: (is_copy[j], -ease[j]))[:k]


def hard(ease, candidates, k=1):
    return sorted(candidates, key=lambda j: ease[j])[:k]


def semi_hard(ease, candidates, threshold, fallback="easiest"):
    """The hardest one that is still easier than `threshold`, the ease of the selected positive."""
    easier = [j for j in candidates if ease[j] > threshold]
    if easier:
        return hard(ease, easier)
    return {"easiest": partial(easy, copies_above=1), "hardest": hard, "skip": lambda *_: []}[fallback](
        ease, candidates
    )


def distance_probabilities(similarities, dim, cutoff=0.5, upper_cutoff=1.4):
    """Probabilities with which distance-weighted sampling draws each of an anchor's negatives."""
    d = np.sqrt(np.maximum(2 - 2 * np.asarray(similarities, "float64"), 0))
    allowed = d <= (upper_cutoff or 2)
    if not allowed.any():
        allowed = d == d.min()
    # q(2) is 0 or infinite: distances end just before.
    d = np.sqrt(np.clip(np.square(d), cutoff**2, 3.999))
    log_density = (dim - 2) * np.log(d) + (dim - 3) / 2 * np.log(1 - np.square(d) / 4)
    lowest = log_density[allowed].min()
    weight = np.array([np.exp(lowest - q) if ok else 0 for q, ok in zip(log_density, allowed, strict=True)])
    return weight / weight.sum()


def is_relative(strategy):
    """Whether a strategy of negatives looks at the selected positive, one choice for each of them."""
    return getattr(strategy, "func", strategy) is semi_hard


def negatives_for(similarity, anchor, positive, candidates, strategy):
    """Negatives that a strategy chooses for an anchor and one of its positives."""
    ease = -similarity[anchor]
    if is_relative(strategy):
        return strategy(ease, candidates, threshold=ease[positive])
    if getattr(strategy, "func", strategy) is easy:
        strategy = partial(strategy, copies_above=1)
    return strategy(ease, candidates)


def negatives_of(similarity, anchor, positives, candidates, strategy):
    """Negatives of an anchor for losses that do not pair them with positives."""
    if not is_relative(strategy):
        return negatives_for(similarity, anchor, None, candidates, strategy)
    return negatives_for(similarity, anchor, positives[0], candidates, strategy) if positives else []


# --- losses ---


def triplet(
    labels,
    embeddings,
    margin=0.2,
    metric="squared_euclidean",
    positives=everything,
    negatives=semi_hard,
    ignore_label=None,
):
    """Schroff et al. 2015: sum over (p, n) of `max(0, s_an - s_ap + margin)`, or `log(1 + exp(s_an - s_ap))`."""
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    s, slope = nearness(embeddings, metric)
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        for p in positives(similarity[a], same):
            for n in negatives_for(similarity, a, p, other, negatives):
                gap = s[a, n] - s[a, p]
                if margin == "soft":
                    value, weight = np.log1p(np.exp(gap)), 1 / (1 + np.exp(-gap))
                else:
                    value, weight = max(0, gap + margin), float(gap + margin > 0)
                terms.total[a] += value
                terms.valid[a] += 1
                terms.active[a] += weight > 0
                terms.weights[a, p] -= weight * slope[a, p]
                terms.weights[a, n] += weight * slope[a, n]
    return terms


def nt_xent(labels, embeddings, temperature=0.1, positives=everything, negatives=everything, ignore_label=None):
    """Sohn 2016: sum over p of `log(1 + sum_n exp((S_an - S_ap) / temperature))`."""
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        for p in positives(similarity[a], same):
            chosen = negatives_for(similarity, a, p, other, negatives)
            if not chosen:
                continue
            z = {n: np.exp((similarity[a, n] - similarity[a, p]) / temperature) for n in chosen}
            denominator = 1 + sum(z.values())
            terms.total[a] += np.log(denominator)
            terms.valid[a] += 1
            terms.active[a] += 1
            for n in chosen:
                weight = z[n] / denominator / temperature
                terms.weights[a, n] += weight
                terms.weights[a, p] -= weight
    return terms


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
            _add_hinge(terms, a, p, positive_margin - similarity[a, p], -1)
        for n in pushed:
            _add_hinge(terms, a, n, similarity[a, n] - negative_margin, 1)
    return terms


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
            _add_hinge(terms, a, p, margin - s[a, p] - beta, -slope[a, p])
        for n in pushed:
            _add_hinge(terms, a, n, margin + s[a, n] + beta, slope[a, n])
    return terms


def multi_similarity(
    labels,
    embeddings,
    alpha=2.0,
    beta=40.0,
    base=0.5,
    epsilon=0.1,
    positives_chosen="before_mining",
    positives=everything,
    negatives=everything,
    ignore_label=None,
):
    """Wang et al. 2019; an anchor is active when the mining step leaves it any pair.

    `log(1 + sum_p exp(-alpha (S_ap - base))) / alpha + log(1 + sum_n exp(beta (S_an - base))) / beta` over what is
    left of `S_ap < max_n S_an + epsilon` and `S_an > min_p S_ap - epsilon`.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        if not same:
            continue
        s = similarity[a]
        if epsilon is None:
            pulled = positives(s, same)
        else:
            not_easy = [p for p in same if s[p] < max(s[n] for n in other) + epsilon]
            if positives_chosen == "before_mining":
                known = positives(s, same)
                pulled = [p for p in known if p in not_easy]
            elif positives_chosen == "instead_of_mining":
                known, pulled = same, positives(s, same)
            else:
                known, pulled = same, positives(s, not_easy)
            other = [n for n in other if s[n] > min(s[p] for p in known) - epsilon]
        pushed = negatives_of(similarity, a, pulled, other, negatives)
        terms.valid[a] = 1
        terms.active[a] = bool(pulled or pushed)
        for chosen, sharpness in ((pulled, -alpha), (pushed, beta)):
            z = {j: np.exp(sharpness * (s[j] - base)) for j in chosen}
            terms.total[a] += np.log1p(sum(z.values())) / abs(sharpness)
            for j in chosen:
                terms.weights[a, j] = np.sign(sharpness) * z[j] / (1 + sum(z.values()))
    return terms


def _add_hinge(terms, anchor, reference, value, weight):
    terms.total[anchor] += max(0, value)
    terms.valid[anchor] += 1
    terms.active[anchor] += value > 0
    terms.weights[anchor, reference] = weight * (value > 0)


# --- gradients ---


def gradient(terms, embeddings, average_over="valid"):
    """Gradient of `terms.mean(average_over)` by the embeddings, from the pair weights.

    Each pair weight pulls or pushes both of its rows; what is left is the derivative of dividing by the norm.
    Rows of zeros get 0.
    """
    rows, embeddings = unit(embeddings), np.asarray(embeddings, "float64")
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    weights = terms.weights / max(getattr(terms, average_over).sum(), 1)
    by_rows = (weights + weights.T) @ rows
    along = np.sum(by_rows * rows, axis=1, keepdims=True)
    return np.where(norms == 0, 0, (by_rows - along * rows) / np.where(norms == 0, 1, norms))


def numerical_gradient(function, embeddings, step=1e-6):
    """Central differences of the scalar `function(embeddings)`, for whoever trusts no derivation."""
    embeddings = np.asarray(embeddings, "float64")
    found = np.zeros_like(embeddings)
    for index in np.ndindex(*embeddings.shape):
        up, down = embeddings.copy(), embeddings.copy()
        up[index] += step
        down[index] -= step
        found[index] = (function(up) - function(down)) / (2 * step)
    return found
