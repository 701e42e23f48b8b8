"""Hierarchical triplet loss, and the tree of classes it takes its margins from."""

import numpy as np

from keras_epos.reference.pairs import candidates, cosine, distance, nearness
from keras_epos.reference.strategies import everything, negatives_for
from keras_epos.reference.terms import empty_terms, hinge


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
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        for p in positives(similarity[a], same):
            for n in negatives_for(similarity, a, p, other, negatives):
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
