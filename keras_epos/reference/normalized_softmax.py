"""Normalized softmax."""

from keras_epos.reference.proxies import (
    add_cross_entropy,
    empty_proxy_terms,
    flat,
    samples_and_classes,
    to_proxies,
)


def normalized_softmax(labels, embeddings, proxies, temperature=0.05, ignore_label=None):
    """Zhai and Wu 2019: cross-entropy of `S / temperature`."""
    similarity = to_proxies(embeddings, proxies)
    terms = empty_proxy_terms(similarity)
    samples, classes = samples_and_classes(labels, len(proxies), ignore_label)
    for i in samples:
        logits = {c: similarity[i, c, 0] / temperature for c in classes}
        add_cross_entropy(terms, i, labels[i], logits, dict.fromkeys(classes, 1 / temperature))
    return flat(terms)
