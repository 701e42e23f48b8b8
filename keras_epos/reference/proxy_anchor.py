"""Proxy-Anchor."""

import numpy as np

from keras_epos.reference.proxies import empty_proxy_terms, flat, samples_and_classes, to_proxies


def proxy_anchor(labels, embeddings, proxies, margin=0.1, alpha=32.0, ignore_label=None):
    """Kim et al. 2020: the loss is a mean over proxies, shared out equally among the samples of each term.

    The mean of `total` over the samples is the published loss.
    """
    similarity = to_proxies(embeddings, proxies)
    terms = empty_proxy_terms(similarity)
    samples, classes = samples_and_classes(labels, len(proxies), ignore_label)
    present = {labels[i] for i in samples}
    for c in classes:
        own = [i for i in samples if labels[i] == c]
        other = [i for i in samples if labels[i] != c]
        for sign, members, size in ((-1, own, len(present)), (1, other, len(proxies))):
            z = {i: np.exp(alpha * (sign * similarity[i, c, 0] + margin)) for i in members}
            for i in members:
                terms.total[i] += len(samples) * np.log(1 + sum(z.values())) / len(members) / size
                terms.weights[i, c] += len(samples) * sign * alpha * z[i] / (1 + sum(z.values())) / size
    for i in samples:
        terms.valid[i] = terms.active[i] = 1
    return flat(terms)
