"""Losses that compare samples with the proxies of all classes, and what they share.

Such a loss takes `(labels, embeddings, proxies)` with proxies `(C * K, D)`, the `K` centers of a class side by side. It
returns `Terms` whose weights are `(B, C * K)`: the derivative of the sum of all totals by the cosine similarity of
sample and proxy.
"""

from itertools import combinations

import numpy as np

from keras_epos.reference._similarity import unit
from keras_epos.reference._terms import Terms, through_norm

__all__ = [
    "ada_face",
    "arc_face",
    "cos_face",
    "mag_face",
    "normalized_softmax",
    "proxy_anchor",
    "proxy_gradients",
    "proxy_nca",
    "soft_triple",
    "soft_triple_regularizer",
    "sub_center_arc_face",
]


def to_proxies(embeddings, proxies, centers=1):
    """Cosine similarities `(B, C, K)`."""
    return (unit(embeddings) @ unit(proxies).T).reshape(len(embeddings), -1, centers)


def empty_proxy_terms(similarity):
    """`Terms` without any, for similarities `(B, C, K)`."""
    size = len(similarity)
    return Terms(np.zeros(size), np.zeros(size), np.zeros(size), np.zeros(similarity.shape))


def samples_and_classes(labels, num_classes, ignore_label=None):
    """Indices of the samples and of the classes that take part."""
    samples = [i for i in range(len(labels)) if labels[i] != ignore_label]
    return samples, [c for c in range(num_classes) if c != ignore_label]


def add_cross_entropy(terms, sample, own, logits, slopes, label_smoothing=0.0):
    """Add `-sum of q_c log softmax(logits)_c` of a sample, `q` being 1 at its own class.

    Of that 1 the share `label_smoothing` is spread evenly over all classes (Szegedy et al. 2016).

    `logits` and `slopes` are dictionaries by class; a slope is the derivative of the logit by the similarities to the
    centers of its class, `(K,)`.
    """
    largest = max(logits.values())
    total = sum(np.exp(logit - largest) for logit in logits.values())
    terms.valid[sample] += 1
    terms.active[sample] += 1
    for c in logits:
        target = (1 - label_smoothing) * (c == own) + label_smoothing / len(logits)
        terms.total[sample] += target * (np.log(total) + largest - logits[c])
        terms.weights[sample, c] += (np.exp(logits[c] - largest) / total - target) * slopes[c]


def flat(terms):
    """The same with weights `(B, C * K)`."""
    return terms._replace(weights=terms.weights.reshape(len(terms.total), -1))


def normalized_softmax(labels, embeddings, proxies, temperature=0.05, label_smoothing=0.0, ignore_label=None):
    """Zhai and Wu 2019: cross-entropy of `S / temperature`."""
    similarity = to_proxies(embeddings, proxies)
    terms = empty_proxy_terms(similarity)
    samples, classes = samples_and_classes(labels, len(proxies), ignore_label)
    for i in samples:
        logits = {c: similarity[i, c, 0] / temperature for c in classes}
        add_cross_entropy(terms, i, labels[i], logits, dict.fromkeys(classes, 1 / temperature), label_smoothing)
    return flat(terms)


def cos_face(labels, embeddings, proxies, margin=0.35, scale=64.0, label_smoothing=0.0, ignore_label=None):
    """Wang et al. 2018: cross-entropy of `scale * S`, with `scale * (S - margin)` for the own class."""
    similarity = to_proxies(embeddings, proxies)
    terms = empty_proxy_terms(similarity)
    samples, classes = samples_and_classes(labels, len(proxies), ignore_label)
    for i in samples:
        logits = {c: scale * (similarity[i, c, 0] - margin * (c == labels[i])) for c in classes}
        add_cross_entropy(terms, i, labels[i], logits, dict.fromkeys(classes, scale), label_smoothing)
    return flat(terms)


def arc_face(labels, embeddings, proxies, margin=0.5, scale=64.0, label_smoothing=0.0, ignore_label=None):
    """Deng et al. 2019: cross-entropy of `scale * S`, with `scale * cos(angle + margin)` for the own class.

    Beyond an angle of `pi - margin` the own logit is `scale * (S - margin * sin(margin))`.
    """
    return sub_center_arc_face(labels, embeddings, proxies, margin, scale, 1, label_smoothing, ignore_label)


def sub_center_arc_face(
    labels, embeddings, proxies, margin=0.5, scale=64.0, centers=3, label_smoothing=0.0, ignore_label=None
):
    """Deng et al. 2020: ArcFace on the similarity to the nearest center of each class."""
    similarity = to_proxies(embeddings, proxies, centers)
    terms = empty_proxy_terms(similarity)
    samples, classes = samples_and_classes(labels, len(proxies) // centers, ignore_label)
    for i in samples:
        logits, slopes = {}, {}
        for c in classes:
            nearest = similarity[i, c].argmax()
            s = similarity[i, c, nearest]
            target, slope = with_margin(s, margin) if c == labels[i] else (s, 1.0)
            logits[c], slopes[c] = scale * target, scale * slope * (np.arange(centers) == nearest)
        add_cross_entropy(terms, i, labels[i], logits, slopes, label_smoothing)
    return flat(terms)


def with_margin(s, margin):
    """The own similarity with the margin, and its derivative by `s`."""
    angle = np.arccos(np.clip(s, -1, 1))
    if angle >= np.pi - margin:
        return s - margin * np.sin(margin), 1.0
    # At an angle of 0 the root in it has no derivative, and 0 is taken for it.
    steep = np.sin(margin) * s / np.sqrt(1 - s**2) if abs(s) < 1 else 0.0
    return np.cos(angle + margin), np.cos(margin) + steep


def ada_face(
    labels,
    embeddings,
    proxies,
    margin=0.4,
    scale=64.0,
    h=0.333,
    momentum=0.99,
    mean=20.0,
    deviation=100.0,
    ignore_label=None,
    constants_at=None,
):
    """Kim et al. 2022: cross-entropy of `scale * S`, for the own class of `scale * (cos(angle - m z) - m (1 + z))`.

    `m` is the margin and `z` the length of the embedding, less the moving `mean` and by the moving `deviation` after
    this batch, times `h` and held in [-1, 1]. Lengths are those of `constants_at`, by default of the embeddings.
    """
    similarity = to_proxies(embeddings, proxies)
    terms = empty_proxy_terms(similarity)
    samples, classes = samples_and_classes(labels, len(proxies), ignore_label)
    length = np.linalg.norm(embeddings if constants_at is None else constants_at, axis=1)
    seen = np.clip([length[i] for i in samples if length[i]], 1e-3, 100)
    if len(seen) > 1:
        mean = momentum * mean + (1 - momentum) * np.mean(seen)
        deviation = momentum * deviation + (1 - momentum) * np.std(seen, ddof=1)
    for i in samples:
        z = np.clip(h * (np.clip(length[i], 1e-3, 100) - mean) / (deviation + 1e-3), -1, 1)
        s = similarity[i, labels[i], 0]
        angle = np.arccos(np.clip(s, -1, 1)) - margin * z
        slope = np.sin(angle) / np.sqrt(1 - s**2) if abs(s) < 1 and 0 < angle < np.pi else np.cos(margin * z)
        slope = slope if 0 <= angle <= np.pi else 0.0
        logits = {c: scale * similarity[i, c, 0] for c in classes}
        logits[labels[i]] = scale * (np.cos(np.clip(angle, 0, np.pi)) - margin * (1 + z))
        slopes = {c: scale * (slope if c == labels[i] else 1.0) for c in classes}
        add_cross_entropy(terms, i, labels[i], logits, slopes)
    return flat(terms)


def mag_face(
    labels,
    embeddings,
    proxies,
    margin=(0.45, 0.8),
    scale=64.0,
    bounds=(10.0, 110.0),
    length_weight=35.0,
    ignore_label=None,
):
    """Meng et al. 2021: ArcFace with a margin that grows with the length `a`, plus `length_weight` times
    `a / longest^2 + 1 / a`.

    Beyond a right angle there is no margin. Weights are derivatives at fixed lengths, so they do not give the whole
    gradient.
    """
    similarity = to_proxies(embeddings, proxies)
    terms = empty_proxy_terms(similarity)
    samples, classes = samples_and_classes(labels, len(proxies), ignore_label)
    for i in samples:
        a = np.clip(np.linalg.norm(embeddings[i]), *bounds)
        s = similarity[i, labels[i], 0]
        target, slope = with_margin(s, np.interp(a, bounds, margin)) if s > 0 else (s, 1.0)
        logits = {c: scale * (target if c == labels[i] else similarity[i, c, 0]) for c in classes}
        slopes = {c: scale * (slope if c == labels[i] else 1.0) for c in classes}
        add_cross_entropy(terms, i, labels[i], logits, slopes)
        terms.total[i] += length_weight * (a / bounds[1] ** 2 + 1 / a)
    return flat(terms)


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


def soft_triple(
    labels, embeddings, proxies, centers=10, scale=20.0, gamma=0.1, margin=0.01, tau=0.2, ignore_label=None
):
    """Qian et al. 2019: cross-entropy of `scale * (S_c - margin [c is own])`.

    `S_c = sum_k softmax_k(S_ck / gamma) S_ck` over the centers of class `c`. Every total contains `tau` times the
    regularizer, which the weights know nothing of.
    """
    similarity = to_proxies(embeddings, proxies, centers)
    terms = empty_proxy_terms(similarity)
    samples, classes = samples_and_classes(labels, len(proxies) // centers, ignore_label)
    penalty = tau * soft_triple_regularizer(proxies, centers) if tau else 0
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


def soft_triple_regularizer(proxies, centers, under_root=1e-5):
    """Sum over classes and pairs of centers of their distance, by `C K (K - 1)`."""
    rows = unit(proxies).reshape(-1, centers, np.shape(proxies)[1])
    distances = [
        np.sqrt(2 + under_root - 2 * one @ other) for of_class in rows for one, other in combinations(of_class, 2)
    ]
    return np.sum(distances) / (len(rows) * max(centers * (centers - 1), 1))


def proxy_gradients(terms, embeddings, proxies, average_over="valid"):
    """Gradients of `terms.mean(average_over)` by the embeddings and by the proxies, from the weights."""
    embeddings, proxies = np.asarray(embeddings, "float64"), np.asarray(proxies, "float64")
    weights = terms.weights / max(getattr(terms, average_over).sum(), 1)
    return through_norm(weights @ unit(proxies), embeddings), through_norm(weights.T @ unit(embeddings), proxies)
