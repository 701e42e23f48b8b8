"""What label noise does to the triplet and the margin loss: exact expectations, and draws of labels.

This project's formalization, not the theorem of a paper. At every presentation the observed label of a sample is,
independently, with the flip probability `e` another class, each of the others equally likely. Distances `D` are
Euclidean.

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

**Easy positives** have no such closed form: `simulated_triplet_loss` draws labels, `free_points.descend` moves
points. With all positives a mislabeled sample of another mode pulls every anchor that it is observed with. An easy
positive is nearly always of the anchor's own mode: a right one for a right anchor, and for a mislabeled anchor
another mislabeled one, if the batch holds one. So noise no longer draws modes together, provided that about four
samples of each mode or more are there; with two it still does.
"""

from typing import NamedTuple

import numpy as np

from keras_epos._checks import integer, number, one_of

POSITIVES = ("all", "random", "easy")
# Draws that are held in memory at once.
BLOCK = 100


class TripletProbabilities(NamedTuple):
    """How likely anchor and positive are observed in one class and the negative in another, by their true classes.

    Attributes:
        aab: Anchor and positive of one true class, the negative of another: a triplet that tells the truth.
        aaa: All three of one class.
        aba: Anchor and negative of one class, the positive of another; the same for positive and negative of one.
        abc: Three different classes; 0 with two classes, where there is no such triplet.
    """

    aab: float
    aaa: float
    aba: float
    abc: float


def triplet_probabilities(flip_probability, num_classes=2):
    """`TripletProbabilities` in closed form; with two classes and `q = e * (1 - e)` they are `1 - 3q, q, q, 0`."""
    alike, unlike = pair_probabilities(flip_probability, num_classes)
    right, wrong, others = 1 - flip_probability, flip_probability / (num_classes - 1), num_classes - 1
    # Two samples are observed in one class, but for the times when the third one is as well.
    all_of_two = right * wrong * (right + wrong) + (others - 1) * wrong**3
    all_of_three = 3 * right * wrong**2 + (others - 2) * wrong**3
    return TripletProbabilities(
        aab=alike - all_of_two,
        aaa=alike - right**3 - others * wrong**3,
        aba=unlike - all_of_two,
        abc=unlike - all_of_three if num_classes > 2 else 0.0,
    )


def pair_probabilities(flip_probability, num_classes=2):
    """How likely two samples are observed in one class: if they are of one class, and if they are not."""
    check_noise(flip_probability, num_classes)
    right, wrong = 1 - flip_probability, flip_probability / (num_classes - 1)
    return right**2 + (num_classes - 1) * wrong**2, 2 * right * wrong + (num_classes - 2) * wrong**2


def observed_labels(classes, flip_probability, num_classes, uniform):
    """Labels `(..., N)` of the classes `(N,)` in `[0, num_classes)`, flipped where `uniform` is below it."""
    flipped = uniform < flip_probability
    # Below the probability a uniform number is uniform again: it also says which of the other classes.
    share = np.divide(uniform, flip_probability, out=np.zeros_like(uniform), where=flipped)
    other = np.minimum(share * (num_classes - 1), num_classes - 2).astype(int)
    return np.where(flipped, (classes + 1 + other) % num_classes, classes)


def check_noise(flip_probability, num_classes):
    number("flip_probability", flip_probability, "[0, 1]")
    integer("num_classes", num_classes, 2)


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
    """Lower bound of `expected_triplet_loss` for two classes: `margin * e * (1 - e)`."""
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
    """Lower bound of `expected_margin_loss` for two classes and any boundary: `4 * margin * e * (1 - e)`."""
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


def two_modes(per_mode, distance, other_distance):
    """Points of class 0 in two modes, and of class 1 in one place that is equally far from both.

    Args:
        per_mode: Number of points of each mode, at least 1; class 1 has as many as both.
        distance: Distance between the modes, at least 0.
        other_distance: Distance of class 1 to each mode, positive, at least half of `distance`.

    Returns:
        `(points, classes, modes)`: floats `(4 * per_mode, 2)`, integers 0 and 1, and integers 0, 1 and, for class 1, 2.
    """
    integer("per_mode", per_mode, 1)
    number("other_distance", other_distance, "(0, inf)")
    if not 0 <= distance <= 2 * other_distance:
        raise ValueError(
            "`distance` must be at least 0 and at most twice `other_distance`. "
            f"Received: distance={distance}, other_distance={other_distance}."
        )
    half = distance / 2
    places = np.array([[-half, 0.0], [half, 0.0], [0.0, np.sqrt(other_distance**2 - half**2)]])
    modes = np.repeat([0, 1, 2, 2], per_mode)
    return places[modes], (modes == 2).astype(int), modes


def lowest_two_mode_loss(loss, per_mode, distance, margin=0.2):
    """The loss of two modes, with the other class at the distance where it is lowest.

    Args:
        loss: Function of points and classes that returns a triplet loss with `margin` on average over triples, or a
            tuple that begins with it, such as a call of `expected_triplet_loss` or `simulated_triplet_loss`.
        per_mode, distance: See `two_modes`.
        margin: Positive distance.

    Returns:
        `(loss, other_distance)`.
    """
    number("margin", margin, "(0, inf)")
    # Distances are 0, `distance` and the one sought, so the loss is piecewise linear in it: the lowest is at a kink, of
    # a hinge or of the nearest positive, or at the near end.
    kinks = {distance / 2, distance, margin, distance + margin, distance - margin}
    reached = [kink for kink in sorted(kinks) if kink > 0 and kink >= distance / 2]
    return min((loss(*two_modes(per_mode, distance, kink)[:2]), kink) for kink in reached)
