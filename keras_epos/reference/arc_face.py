"""ArcFace."""

import numpy as np

from keras_epos.reference.proxies import (
    add_cross_entropy,
    empty_proxy_terms,
    flat,
    samples_and_classes,
    to_proxies,
)


def arc_face(labels, embeddings, proxies, margin=0.5, scale=64.0, ignore_label=None):
    """Deng et al. 2019: cross-entropy of `scale * S`, with `scale * cos(angle + margin)` for the own class.

    Beyond an angle of `pi - margin` the own logit is `scale * (S - margin * sin(margin))`.
    """
    return sub_center_arc_face(labels, embeddings, proxies, margin, scale, 1, ignore_label)


def sub_center_arc_face(labels, embeddings, proxies, margin=0.5, scale=64.0, centres=3, ignore_label=None):
    """Deng et al. 2020: ArcFace on the similarity to the nearest centre of each class."""
    similarity = to_proxies(embeddings, proxies, centres)
    terms = empty_proxy_terms(similarity)
    samples, classes = samples_and_classes(labels, len(proxies) // centres, ignore_label)
    for i in samples:
        logits, slopes = {}, {}
        for c in classes:
            nearest = similarity[i, c].argmax()
            s = similarity[i, c, nearest]
            target, slope = with_margin(s, margin) if c == labels[i] else (s, 1.0)
            logits[c], slopes[c] = scale * target, scale * slope * (np.arange(centres) == nearest)
        add_cross_entropy(terms, i, labels[i], logits, slopes)
    return flat(terms)


def with_margin(s, margin):
    """The own similarity with the margin, and its derivative by `s`."""
    angle = np.arccos(np.clip(s, -1, 1))
    if angle >= np.pi - margin:
        return s - margin * np.sin(margin), 1.0
    # At an angle of 0 the root in it has no derivative, and 0 is taken for it.
    steep = np.sin(margin) * s / np.sqrt(1 - s**2) if abs(s) < 1 else 0.0
    return np.cos(angle + margin), np.cos(margin) + steep
