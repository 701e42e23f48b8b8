"""Draws of noisy labels: the triplet loss with all, random and easy positives.

This project's formalisation; see `keras_epos.collapse.noise_model`. With all positives a mislabelled sample of another
mode pulls every anchor that it is observed with. An easy positive is nearly always of the anchor's own mode: a right
one for a right anchor, and for a mislabelled anchor another mislabelled one, if the batch holds one. So noise no longer
draws modes together, provided that about four samples of each mode or more are there; with two it still does.
"""

import numpy as np

from keras_epos._checks import number, one_of
from keras_epos.collapse.noise_model import check_points, distances_between
from keras_epos.collapse.noisy_labels import check_noise, observed_labels

POSITIVES = ("all", "random", "easy")
# Draws that are held in memory at once.
BLOCK = 100


def simulated_triplet_loss(
    points, classes, flip_probability, positives="easy", margin=0.2, num_classes=2, draws=1000, seed=0
):
    """Mean, over draws of the labels, of the mean triplet loss of all (anchor, selected positive, negative).

    Args:
        points: Floats `(N, D)`, three rows or more, taken as they are, of any norm.
        classes: True classes, integers `(N,)`.
        flip_probability: In [0, 1].
        positives: `"all"`, `"random"` or `"easy"`; all negatives count.
        margin: Positive distance.
        num_classes: Number of classes among which labels flip, at least 2; some may have no sample.
        draws: Number of draws, at least 2. Time grows with `draws * N ** 3`, memory with `N ** 3`.
        seed: Integer of the draws.

    Returns:
        `(mean, standard_error)`, floats in units of distance. Draws without a triplet are left out.

    Raises:
        ValueError: If an argument is out of range, the shapes do not fit, or fewer than two draws have a triplet.
    """
    check_noise(flip_probability, num_classes)
    points, classes = check_points(points, classes, num_classes)
    check_positives(positives)
    number("margin", margin, "(0, inf)")
    distances = distances_between(points)
    loss = np.maximum(distances[:, :, None] - distances[:, None, :] + margin, 0)
    generator, means = np.random.default_rng(seed), []
    for start in range(0, draws, BLOCK):
        uniform = generator.random((min(BLOCK, draws - start), len(points)))
        labels = observed_labels(classes, flip_probability, num_classes, uniform)
        shares, negatives = sides(labels, distances, positives)
        # One matrix product over the positives for each anchor, all draws at once.
        over_positives = np.matmul(shares.swapaxes(0, 1), loss).swapaxes(0, 1)
        total, weight = np.sum(over_positives * negatives, axis=(1, 2)), num_triplets(shares, negatives)
        means.extend(total[weight > 0] / weight[weight > 0])
    if len(means) < 2:
        raise ValueError(f"`draws` must be enough for two draws with a triplet. Received: draws={draws}.")
    return float(np.mean(means)), float(np.std(means, ddof=1) / np.sqrt(len(means)))


def sides(labels, distances, positives):
    """What each anchor is pulled towards and pushed away from.

    Args:
        labels: Integers `(S, N)`.
        distances: Floats `(N, N)` or `(S, N, N)`; easy positives are the nearest by them, ties to the lowest row.
        positives: `"all"`, `"random"` (the mean over the choice of one) or `"easy"`.

    Returns:
        Floats `(S, N, N)` twice: the shares of the positives, and 1 for each negative. Anchors without a positive or
        without a negative have zeros only.
    """
    same = labels[:, :, None] == labels[:, None, :]
    candidates = same & ~np.eye(labels.shape[1], dtype=bool)
    valid = candidates.any(-1, keepdims=True) & ~same.all(-1, keepdims=True)
    shares = (candidates & valid).astype(float)
    if positives == "random":
        shares /= np.maximum(shares.sum(-1, keepdims=True), 1)
    elif positives == "easy":
        nearest = np.argmin(np.where(candidates, distances, np.inf), axis=-1)
        shares *= np.arange(labels.shape[1]) == nearest[..., None]
    return shares, (~same & valid).astype(float)


def num_triplets(shares, negatives):
    """Number of triplets of each draw, `(S,)`; those of one positive count by its share."""
    return np.sum(shares.sum(-1) * negatives.sum(-1), axis=-1)


def check_positives(positives):
    one_of("positives", positives, POSITIVES)
