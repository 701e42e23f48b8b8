"""Losses of an anchor, a positive and a negative, and the tree of classes that one takes its margins from."""

import numpy as np

from keras_epos.reference._similarity import cosine, distance, nearness
from keras_epos.reference._strategies import anchors, everything, semi_hard, tuplets
from keras_epos.reference._terms import empty_terms, hinge

__all__ = [
    "class_tree",
    "easy_positive_hard_negative",
    "hierarchical_triplet",
    "triplet",
]


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
    for a, p, chosen in tuplets(labels, similarity, positives, negatives, ignore_label):
        for n in chosen:
            gap = s[a, n] - s[a, p]
            if margin == "soft":
                value, weight = np.log1p(np.exp(gap)), 1 / (1 + np.exp(-gap))
            else:
                value, weight = hinge(gap + margin), float(hinge(gap + margin) > 0)
            terms.total[a] += value
            terms.valid[a] += 1
            terms.active[a] += weight > 0
            terms.weights[a, p] -= weight * slope[a, p]
            terms.weights[a, n] += weight * slope[a, n]
    return terms


def easy_positive_hard_negative(labels, embeddings, temperature=0.1, semi_hard=False, ignore_label=None):
    """Xuan et al. 2020, as released: `-log(exp(S_ap / t) / (exp(S_ap / t) + exp(S_an / t)))` of one p and one n.

    The nearest positive that is no copy (`S_ap <= 0.9999`) and the nearest negative, or the nearest of those with
    `S_an <= S_ap`; only where both similarities are positive.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    for a, same, other in anchors(labels, ignore_label):
        s = similarity[a]
        same = [p for p in same if s[p] <= 0.9999]
        if not same:
            continue
        p = max(same, key=lambda j: s[j])
        other = [n for n in other if not semi_hard or not hinge(s[n] - s[p])]
        if not other:
            continue
        n = max(other, key=lambda j: s[j])
        if not (hinge(s[p]) and hinge(s[n])):
            continue
        chance = np.exp(s[p] / temperature) / (np.exp(s[p] / temperature) + np.exp(s[n] / temperature))
        terms.total[a] = -np.log(chance)
        terms.valid[a] = terms.active[a] = 1
        terms.weights[a, p] = -(1 - chance) / temperature
        terms.weights[a, n] = (1 - chance) / temperature
    return terms


def hierarchical_triplet(
    labels,
    embeddings,
    apart,
    spread,
    beta=0.1,
    metric="squared_euclidean",
    positives=everything,
    negatives=everything,
    ignore_label=None,
):
    """Ge et al. 2018: half the sum over (p, n) of `max(0, s_an - s_ap + beta + d_H(y_a, y_n) - spread(y_a))`.

    `apart` `(C, C)` holds `d_H`, `spread` `(C,)` the mean squared distance inside a class; `class_tree` returns both.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    s, slope = nearness(embeddings, metric)
    for a, p, chosen in tuplets(labels, similarity, positives, negatives, ignore_label):
        for n in chosen:
            value = s[a, n] - s[a, p] + beta + apart[labels[a], labels[n]] - spread[labels[a]]
            terms.total[a] += hinge(value) / 2
            terms.valid[a] += 1
            if hinge(value):
                terms.active[a] += 1
                terms.weights[a, p] -= slope[a, p] / 2
                terms.weights[a, n] += slope[a, n] / 2
    return terms


def class_tree(labels, embeddings, num_levels=16, linkage="average"):
    """Ge et al. 2018, by going through all pairs of samples and all pairs of nodes.

    Returns:
        `(apart, spread)`: `d_H` of every two of the classes `0 ... C - 1`, `(C, C)`, and the mean squared distance of
        two samples of a class, `(C,)`.
    """
    squared, labels = np.square(distance(embeddings)), np.asarray(labels)
    members = [np.flatnonzero(labels == c) for c in range(labels.max() + 1)]
    pairs = [squared[np.ix_(own, own)].sum() / max(len(own) ** 2 - len(own), 1) for own in members]
    lowest = np.mean([pairs[c] for c, own in enumerate(members) if len(own) > 1] or [0.0])
    between = np.array([[squared[np.ix_(p, q)].mean() for q in members] for p in members])

    def node_distance(first, second):
        if linkage == "average":
            rows, columns = (np.concatenate([members[c] for c in node]) for node in (first, second))
            return squared[np.ix_(rows, columns)].mean()
        return {"class_average": np.mean, "single": np.min, "complete": np.max}[linkage](between[np.ix_(first, second)])

    apart = np.full(between.shape, lowest)
    nodes = [[c] for c in range(len(members))]
    while len(nodes) > 1:
        choices = [(node_distance(nodes[i], nodes[j]), i, j) for j in range(len(nodes)) for i in range(j)]
        height, i, j = min(choices)
        levels = [lowest + level * (4 - lowest) / num_levels for level in range(1, num_levels)]
        threshold = next((found for found in levels if height < found), 4.0)
        apart[np.ix_(nodes[i], nodes[j])] = apart[np.ix_(nodes[j], nodes[i])] = threshold
        nodes[i] += nodes.pop(j)
    return apart, np.array(pairs)
