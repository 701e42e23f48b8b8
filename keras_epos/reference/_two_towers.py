"""Losses over pairs of a query and its document, rows `(B, 2 D)` of both side by side.

Weights are `(B, B)`: the derivative of the sum of all totals by the cosine similarity of query and document.
"""

import numpy as np

from keras_epos.reference._similarity import unit
from keras_epos.reference._terms import empty_terms, through_norm

__all__ = ["info_nce", "siglip", "two_tower_gradient"]


def queries_and_documents(embeddings):
    return np.split(np.asarray(embeddings, "float64"), 2, axis=1)


def cross_similarity(embeddings):
    queries, documents = queries_and_documents(embeddings)
    return unit(queries) @ unit(documents).T


def info_nce(labels, embeddings, temperature=0.05, false_negative_margin=None, symmetric=True, ignore_label=None):
    """Radford et al. 2021: cross-entropy of `S / temperature` over the documents, and over the queries.

    Left out are pairs of the same label, and what is more similar than the own pair by more than a margin.
    """
    terms, similarity = empty_terms(len(labels)), cross_similarity(embeddings)
    known = [i for i in range(len(labels)) if labels[i] != ignore_label]
    for turned in (False, True)[: 1 + symmetric]:
        s, weights = (similarity.T, terms.weights.T) if turned else (similarity, terms.weights)
        for i in known:
            border = np.inf if false_negative_margin is None else s[i, i] + false_negative_margin
            negatives = [j for j in known if labels[j] != labels[i] and s[i, j] <= border]
            if not negatives:
                continue
            terms.valid[i] = terms.active[i] = 1
            z = np.exp((s[i, negatives] - s[i, i]) / temperature)
            terms.total[i] += np.log(1 + z.sum()) / (1 + symmetric)
            by = z / (1 + z.sum()) / temperature / (1 + symmetric)
            weights[i, negatives] += by
            weights[i, i] -= by.sum()
    return terms


def siglip(labels, embeddings, temperature=0.1, bias=-10.0, ignore_label=None):
    """Zhai et al. 2023: `-log sigmoid(z_ij (S_ij / temperature + bias))`, `z` 1 for the own pair and -1 for others."""
    terms, similarity = empty_terms(len(labels)), cross_similarity(embeddings)
    known = [i for i in range(len(labels)) if labels[i] != ignore_label]
    for i in known:
        terms.valid[i] = terms.active[i] = 1
        for j in known:
            if i != j and labels[i] == labels[j]:
                continue
            z = 1 if i == j else -1
            logit = z * (similarity[i, j] / temperature + bias)
            terms.total[i] += np.logaddexp(0, -logit)
            terms.weights[i, j] = -z / (1 + np.exp(logit)) / temperature
    return terms


def two_tower_gradient(terms, embeddings, average_over="valid"):
    """Gradient of `terms.mean(average_over)` by the rows `(B, 2 D)`, from the weights."""
    queries, documents = queries_and_documents(embeddings)
    weights = terms.weights / max(getattr(terms, average_over).sum(), 1)
    sides = through_norm(weights @ unit(documents), queries), through_norm(weights.T @ unit(queries), documents)
    return np.concatenate(sides, axis=1)
