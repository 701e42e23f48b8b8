"""What label noise does to the triplet and the margin loss: exact expectations, and the bounds under them.

This project's formalisation, not the theorem of a paper. Points stay where they are, distances `D` are Euclidean, and
the labels are noisy as in `keras_epos.collapse.noisy_labels`, with flip probability `e`.

**Triplet loss**, two classes, margin `m`. On average over all ordered triples of samples, whatever the embedding,

    E[max(0, D_ap - D_an + m) where a, p, n are observed as a triplet] >= m * e * (1 - e)

Two samples of one class are as often positive and negative as negative and positive, so a difference in their distances
to the anchor never helps. Equality holds only if from every anchor its whole class is at one distance and the other
farther by `m`; more than `dim + 1` points have one distance from each other only as a single point. So noise selects
the collapsed embedding. Without noise every embedding whose classes keep the margin has loss 0, however far apart the
modes of a class are.

**Margin loss**, two classes. The average over pairs is at least `4 * m * e * (1 - e)`; equality asks for every pair of
a class at distance `boundary - m` and all others at `boundary + m`. A learned boundary therefore ends at `m` with
collapsed classes. A fixed one beyond `m` does not collapse a class: it draws its points to a few places, as far as
possible at that one distance from each other.

Easy positives have no such closed form here: see `keras_epos.collapse.simulated_triplet_loss` and
`keras_epos.collapse.descend`.
"""

import numpy as np

from keras_epos._checks import number
from keras_epos.collapse.noisy_labels import check_noise, pair_probabilities, triplet_probabilities


def expected_triplet_loss(points, classes, flip_probability, margin=0.2, num_classes=2):
    """Exact expectation of the triplet loss over all positives and negatives, per ordered triple of samples.

    Triples that are observed as no triplet count as 0.

    Args:
        points: Floats `(N, D)`, three rows or more, taken as they are, of any norm.
        classes: True classes, integers `(N,)`.
        flip_probability: In [0, 1].
        margin: Positive distance.
        num_classes: Number of classes among which labels flip, at least 2; some may have no sample.

    Returns:
        Float, in units of distance.

    Raises:
        ValueError: If an argument is out of range or the shapes do not fit.
    """
    check_noise(flip_probability, num_classes)
    points, classes = check_points(points, classes, num_classes)
    number("margin", margin, "(0, inf)")
    probability = triplet_probabilities(flip_probability, num_classes)
    distances, same = distances_between(points), classes[:, None] == classes
    total, distinct = 0.0, ~np.eye(len(points), dtype=bool)
    for a in range(len(points)):
        # Rows are positives, columns negatives.
        positive_like, negative_like = same[a][:, None], same[a]
        weight = np.select(
            [positive_like & negative_like, positive_like, negative_like | same],
            [probability.aaa, probability.aab, probability.aba],
            probability.abc,
        )
        loss = np.maximum(distances[a][:, None] - distances[a] + margin, 0)
        total += np.sum(weight * loss, where=distinct & distinct[a] & distinct[a][:, None])
    return float(total / (len(points) * (len(points) - 1) * (len(points) - 2)))


def triplet_bound(flip_probability, margin=0.2):
    """Lower bound of `expected_triplet_loss` for two classes: `margin * e * (1 - e)`.

    Args:
        flip_probability: `e`, in [0, 1].
        margin: Positive distance.

    Raises:
        ValueError: If an argument is out of range.
    """
    check_noise(flip_probability, 2)
    number("margin", margin, "(0, inf)")
    return margin * flip_probability * (1 - flip_probability)


def expected_margin_loss(points, classes, flip_probability, margin=0.2, boundary=0.6, num_classes=2):
    """Exact expectation of the margin loss over all pairs, per ordered pair of samples.

    A pair observed in one class costs `max(0, D - boundary + margin)`, another one `max(0, boundary - D + margin)`.

    Args:
        points, classes, flip_probability, margin, num_classes: See `expected_triplet_loss`.
        boundary: Positive distance.

    Returns:
        Float, in units of distance.

    Raises:
        ValueError: If an argument is out of range or the shapes do not fit.
    """
    check_noise(flip_probability, num_classes)
    points, classes = check_points(points, classes, num_classes)
    number("margin", margin, "(0, inf)")
    number("boundary", boundary, "(0, inf)")
    beyond = distances_between(points) - boundary
    observed_alike = np.where(classes[:, None] == classes, *pair_probabilities(flip_probability, num_classes))
    loss = observed_alike * np.maximum(beyond + margin, 0) + (1 - observed_alike) * np.maximum(margin - beyond, 0)
    return float(np.mean(loss, where=~np.eye(len(points), dtype=bool)))


def margin_bound(flip_probability, margin=0.2):
    """Lower bound of `expected_margin_loss` for two classes and any boundary: `4 * margin * e * (1 - e)`.

    Args:
        flip_probability, margin: See `triplet_bound`.
    """
    return 4 * triplet_bound(flip_probability, margin)


def distances_between(points):
    """Euclidean distances `(..., N, N)` of points `(..., N, D)`."""
    return np.sqrt(np.sum((points[..., :, None, :] - points[..., None, :, :]) ** 2, axis=-1))


def check_points(points, classes, num_classes):
    """Points as floats `(N, D)`, and their classes numbered from 0, `(N,)`."""
    points, classes = np.asarray(points, float), np.asarray(classes)
    if points.ndim != 2 or len(points) < 3 or not np.isfinite(points).all():
        raise ValueError(
            "`points` must be finite numbers of shape (rows, dim), three rows or more. Received: points of shape "
            f"{points.shape}, {np.isfinite(points).sum()} numbers finite."
        )
    if classes.shape != points.shape[:1]:
        raise ValueError(f"`classes` must be of shape ({len(points)},). Received: shape {classes.shape}.")
    names, numbers = np.unique(classes, return_inverse=True)
    if len(names) > num_classes:
        raise ValueError(
            f"`num_classes` must be at least {len(names)}, as many as `classes` holds. "
            f"Received: num_classes={num_classes}."
        )
    return points, numbers
