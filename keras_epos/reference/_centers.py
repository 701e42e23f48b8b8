"""The loss that compares samples with centers which follow them."""

import numpy as np

__all__ = ["center", "moved_centers"]


def center(labels, embeddings, centers, ignore_label=None):
    """Wen et al. 2016: `|f - c|^2 / 2` of each sample with the center of its class, a mean where theirs is a sum.

    Returns:
        `(values, gradient)`: `(B,)`, 0 where the label is to be ignored, and the gradient `(B, D)` of their mean over
        the others.
    """
    embeddings, centers = np.asarray(embeddings, "float64"), np.asarray(centers, "float64")
    samples = [i for i in range(len(labels)) if labels[i] != ignore_label]
    values, gradient = np.zeros(len(labels)), np.zeros_like(embeddings)
    for i in samples:
        apart = embeddings[i] - centers[labels[i]]
        values[i] = apart @ apart / 2
        gradient[i] = apart / len(samples)
    return values, gradient


def moved_centers(labels, embeddings, centers, rate=0.5, ignore_label=None):
    """The centers after a step: `c - rate * sum(c - f) / (1 + number)` over the samples of each class."""
    embeddings, moved = np.asarray(embeddings, "float64"), np.array(centers, "float64")
    for c in range(len(moved)):
        own = [i for i in range(len(labels)) if labels[i] == c != ignore_label]
        moved[c] -= rate * sum((centers[c] - embeddings[i] for i in own), np.zeros(len(moved[c]))) / (1 + len(own))
    return moved
