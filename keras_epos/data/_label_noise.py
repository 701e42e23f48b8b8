"""Wrong labels on purpose, to measure what they do."""

import numpy as np

from keras_epos._checks import integer, number


def symmetric_noise(labels, share, seed=0):
    """Replace each label, with probability `share`, by one of the other classes, all equally likely.

    Args:
        labels: Integers or strings `(N,)`, of two classes or more.
        share: From 0 to 1.
        seed: Integer of at least 0; the same wrong labels for the same seed.

    Returns:
        Labels `(N,)`, of the dtype of `labels`.

    Raises:
        ValueError: For other shapes, one class, a share out of range, or a seed that is no integer.
    """
    labels, generator = _check(labels, share), np.random.default_rng(integer("seed", seed, least=0))
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"`labels` must hold two classes or more. Received: {len(classes)}.")
    other = (codes.reshape(-1) + generator.integers(1, len(classes), len(labels))) % len(classes)
    return np.where(generator.random(len(labels)) < share, classes[other], labels)


def pairwise_noise(labels, share, partners, seed=0):
    """Replace each label, with probability `share`, by its partner: the class that people mistake it for.

    The hard kind of noise: the wrong samples of a class are all alike.

    Args:
        labels: Integers or strings `(N,)`.
        share: From 0 to 1. From 0.5 on, a class holds more samples of its partner than of its own.
        partners: Dictionary from a label to the label put in its place, such as `{0: 6, 6: 0}`; labels that are
            missing stay right.
        seed: Integer of at least 0; the same wrong labels for the same seed.

    Returns:
        Labels `(N,)`.

    Raises:
        ValueError: For other shapes, a share out of range, a label that is its own partner, or a seed that
            is no integer.
    """
    labels, generator = _check(labels, share), np.random.default_rng(integer("seed", seed, least=0))
    if any(label == partner for label, partner in partners.items()):
        raise ValueError(f"`partners` must map a label to another one. Received: partners={partners!r}.")
    replaced = np.array([partners.get(label, label) for label in labels.tolist()], dtype=labels.dtype)
    return np.where(generator.random(len(labels)) < share, replaced, labels)


def _check(labels, share):
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ValueError(f"`labels` must have shape (N,). Received: labels of shape {labels.shape}.")
    number("share", share, "[0, 1]")
    return labels
