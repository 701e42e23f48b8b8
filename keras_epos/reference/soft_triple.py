"""SoftTriple."""

from itertools import combinations

import numpy as np

from keras_epos.reference.pairs import unit
from keras_epos.reference.proxies import (
    add_cross_entropy,
    empty_proxy_terms,
    flat,
    samples_and_classes,
    to_proxies,
)


def soft_triple(
    labels, embeddings, proxies, centres=10, scale=20.0, gamma=0.1, margin=0.01, tau=0.2, ignore_label=None
):
    """Qian et al. 2019: cross-entropy of `scale * (S_c - margin [c is own])`.

    `S_c = sum_k softmax_k(S_ck / gamma) S_ck` over the centres of class `c`. Every total contains `tau` times the
    regulariser, which the weights know nothing of.
    """
    similarity = to_proxies(embeddings, proxies, centres)
    terms = empty_proxy_terms(similarity)
    samples, classes = samples_and_classes(labels, len(proxies) // centres, ignore_label)
    penalty = tau * soft_triple_regularizer(proxies, centres) if tau else 0
    for i in samples:
        logits, slopes = {}, {}
        for c in classes:
            s = similarity[i, c]
            q = np.exp((s - s.max()) / gamma)
            q /= q.sum()
            relaxed = np.sum(q * s)
            logits[c] = scale * (relaxed - margin * (c == labels[i]))
            slopes[c] = scale * q * (1 + (s - relaxed) / gamma)
        add_cross_entropy(terms, i, labels[i], logits, slopes)
        terms.total[i] += penalty
    return flat(terms)


def soft_triple_regularizer(proxies, centres, under_root=1e-5):
    """Sum over classes and pairs of centres of their distance, by `C K (K - 1)`."""
    rows = unit(proxies).reshape(-1, centres, np.shape(proxies)[1])
    distances = [
        np.sqrt(2 + under_root - 2 * one @ other) for of_class in rows for one, other in combinations(of_class, 2)
    ]
    return np.sum(distances) / (len(rows) * max(centres * (centres - 1), 1))
