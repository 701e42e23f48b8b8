"""Value and gradient of a loss on free points, for several runs side by side.

On unit rows they are those of `keras_epos.TripletLoss` and `keras_epos.MarginLoss` with Euclidean distance, all
negatives and `average_over="valid"`. Here points may have any norm, and a positive is easy by its distance.
"""

import numpy as np

from keras_epos.collapse.noise_model import distances_between
from keras_epos.collapse.noisy_draws import num_triplets, sides


def triplet_step(points, labels, positives, margin, boundary=None):
    """Mean over all (anchor, positive, negative) of `max(0, D_ap - D_an + margin)`, and its gradient.

    Args:
        points: Floats `(S, N, D)`.
        labels: Integers `(S, N)`.
        positives: `"all"`, `"random"` or `"easy"`.
        margin: Positive distance.
        boundary: Of no use here.

    Returns:
        `(value, gradient, slope)`: `(S,)`, `(S, N, D)`, and the derivative by the boundary, 0.
    """
    distances = distances_between(points)
    shares, negatives = sides(labels, distances, positives)
    active = (distances[:, :, :, None] > distances[:, :, None, :] - margin).astype(float)
    # How many active negatives each positive has, and how many active positives each negative.
    pull = shares * np.matmul(active, negatives[..., None])[..., 0]
    push = negatives * np.matmul(shares[:, :, None, :], active)[:, :, 0, :]
    total = np.maximum(num_triplets(shares, negatives), 1)
    value = np.sum(pull * (distances + margin) - push * distances, axis=(1, 2)) / total
    return value, _by_points(points, distances, (pull - push) / total[:, None, None]), 0.0


def margin_step(points, labels, positives, margin, boundary):
    """Mean of `max(0, D_ap - boundary + margin)` and `max(0, boundary - D_an + margin)` over all pairs.

    Args:
        points: Floats `(S, N, D)`.
        labels: Integers `(S, N)`.
        positives: `"all"`, `"random"` or `"easy"`.
        margin: Positive distance.
        boundary: Floats `(S,)`.

    Returns:
        `(value, gradient, slope)`: `(S,)`, `(S, N, D)`, and the derivative by the boundary, `(S,)`.
    """
    distances = distances_between(points)
    shares, negatives = sides(labels, distances, positives)
    beyond = distances - boundary[:, None, None]
    pull, push = shares * (beyond + margin > 0), negatives * (margin - beyond > 0)
    total = np.maximum(np.sum(shares + negatives, axis=(1, 2)), 1)
    value = np.sum(pull * (margin + beyond) + push * (margin - beyond), axis=(1, 2)) / total
    slope = np.sum(push - pull, axis=(1, 2)) / total
    return value, _by_points(points, distances, (pull - push) / total[:, None, None]), slope


def _by_points(points, distances, slopes):
    """Gradient by the points `(S, N, D)`, from that by the distances `(S, N, N)`; coincident points get none."""
    weights = (slopes + slopes.swapaxes(1, 2)) / np.where(distances > 0, distances, np.inf)
    return weights.sum(-1, keepdims=True) * points - weights @ points
