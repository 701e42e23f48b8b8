"""CosFace."""

from keras_epos.reference.proxies import (
    add_cross_entropy,
    empty_proxy_terms,
    flat,
    samples_and_classes,
    to_proxies,
)


def cos_face(labels, embeddings, proxies, margin=0.35, scale=64.0, ignore_label=None):
    """Wang et al. 2018: cross-entropy of `scale * S`, with `scale * (S - margin)` for the own class."""
    similarity = to_proxies(embeddings, proxies)
    terms = empty_proxy_terms(similarity)
    samples, classes = samples_and_classes(labels, len(proxies), ignore_label)
    for i in samples:
        logits = {c: scale * (similarity[i, c, 0] - margin * (c == labels[i])) for c in classes}
        add_cross_entropy(terms, i, labels[i], logits, dict.fromkeys(classes, scale))
    return flat(terms)
