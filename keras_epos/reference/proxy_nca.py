"""Proxy-NCA."""

import numpy as np

from keras_epos.reference.proxies import (
    add_cross_entropy,
    empty_proxy_terms,
    flat,
    samples_and_classes,
    to_proxies,
)


def proxy_nca(labels, embeddings, proxies, temperature=1 / 9, denominator="all", ignore_label=None):
    """`-log(exp(-D_y / temperature) / sum_c exp(-D_c / temperature))` with squared distances of unit rows.

    The sum is over `"all"` classes (Teh et al. 2020) or over the `"others"` (Movshovitz-Attias et al. 2017).
    """
    similarity = to_proxies(embeddings, proxies)
    terms = empty_proxy_terms(similarity)
    samples, classes = samples_and_classes(labels, len(proxies), ignore_label)
    for i in samples:
        own = labels[i]
        logits = {c: -(2 - 2 * similarity[i, c, 0]) / temperature for c in classes}
        slopes = dict.fromkeys(classes, 2 / temperature)
        if denominator == "all":
            add_cross_entropy(terms, i, own, logits, slopes)
            continue
        others = {c: np.exp(logits[c]) for c in classes if c != own}
        terms.total[i] = -np.log(np.exp(logits[own]) / sum(others.values())) if others else 0
        terms.valid[i] = terms.active[i] = 1
        for c in others:
            terms.weights[i, c] = slopes[c] * others[c] / sum(others.values())
            terms.weights[i, own] = -slopes[own]
    return flat(terms)
