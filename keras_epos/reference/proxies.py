"""Similarities to the proxies of all classes, and what the losses on them share.

Such a loss takes `(labels, embeddings, proxies)` with proxies `(C * K, D)`, the `K` centres of a class side by side. It
returns `Terms` whose weights are `(B, C * K)`: the derivative of the sum of all totals by the cosine similarity of
sample and proxy.
"""

import numpy as np

from keras_epos.reference.pairs import unit
from keras_epos.reference.terms import Terms, through_norm


def to_proxies(embeddings, proxies, centres=1):
    """Cosine similarities `(B, C, K)`."""
    return (unit(embeddings) @ unit(proxies).T).reshape(len(embeddings), -1, centres)


def empty_proxy_terms(similarity):
    """`Terms` without any, for similarities `(B, C, K)`."""
    size = len(similarity)
    return Terms(np.zeros(size), np.zeros(size), np.zeros(size), np.zeros(similarity.shape))


def samples_and_classes(labels, num_classes, ignore_label=None):
    """Indices of the samples and of the classes that take part."""
    samples = [i for i in range(len(labels)) if labels[i] != ignore_label]
    return samples, [c for c in range(num_classes) if c != ignore_label]


def add_cross_entropy(terms, sample, own, logits, slopes):
    """Add `-log softmax(logits)_own` of a sample.

    `logits` and `slopes` are dictionaries by class; a slope is the derivative of the logit by the similarities to the
    centres of its class, `(K,)`.
    """
    largest = max(logits.values())
    total = sum(np.exp(logit - largest) for logit in logits.values())
    terms.total[sample] += np.log(total) + largest - logits[own]
    terms.valid[sample] += 1
    terms.active[sample] += 1
    for c in logits:
        terms.weights[sample, c] += (np.exp(logits[c] - largest) / total - (c == own)) * slopes[c]


def flat(terms):
    """The same with weights `(B, C * K)`."""
    return terms._replace(weights=terms.weights.reshape(len(terms.total), -1))


def proxy_gradients(terms, embeddings, proxies, average_over="valid"):
    """Gradients of `terms.mean(average_over)` by the embeddings and by the proxies, from the weights."""
    embeddings, proxies = np.asarray(embeddings, "float64"), np.asarray(proxies, "float64")
    weights = terms.weights / max(getattr(terms, average_over).sum(), 1)
    return through_norm(weights @ unit(proxies), embeddings), through_norm(weights.T @ unit(embeddings), proxies)
