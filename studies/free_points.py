"""Points that move freely under label noise: gradient steps of the triplet and the margin loss, and where they end.

Points are no outputs of a network and keep their norm, and a positive is easy by plain distance. On unit rows the steps
are those of `keras_epos.TripletLoss` and `keras_epos.MarginLoss` with Euclidean distance, all negatives and
`average_over="valid"`; those mine by cosine, so the gradients are written out here, in NumPy.
"""

from typing import NamedTuple

import numpy as np
from noise_theory import (
    check_noise,
    check_points,
    check_positives,
    distances_between,
    num_triplets,
    observed_labels,
    sides,
)

from keras_epos._checks import integer, number, one_of

# Of the boundary, as a share of that of the points.
BOUNDARY_RATE = 0.05


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
    """Mean of `max(0, D_ap - boundary + margin)` and `max(0, boundary - D_an + margin)` over all pairs, and gradients.

    As `triplet_step`; `boundary` and the slope are `(S,)`.
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


STEPS = {"triplet": triplet_step, "margin": margin_step}


class Descent(NamedTuple):
    """Where the points of each seed went.

    Attributes:
        points: Floats `(S, N, D)`, at the end.
        boundary: Floats `(S,)`, at the end; of the margin loss.
        path: Floats `(T, S, N, D)`: at the start, every `record_every` steps, and at the end.
        steps: Integers `(T,)`, the steps done at each entry of `path`.
    """

    points: object
    boundary: object
    path: object
    steps: object


def descend(
    points,
    classes,
    flip_probability,
    loss="triplet",
    positives="all",
    margin=0.2,
    boundary=0.6,
    learn_boundary=False,
    noise=0.03,
    steps=6000,
    learning_rate=0.5,
    seeds=(0,),
    record_every=None,
):
    """Move points down the gradient of a loss, each step under other labels.

    Args:
        points: Floats `(N, D)`, where they start, three rows or more.
        classes: True classes, integers `(N,)`, two of them.
        flip_probability: In [0, 1], of each label at each step.
        loss: `"triplet"` or `"margin"`, over all negatives.
        positives: `"all"`, `"random"` (the mean over the choice of one) or `"easy"`.
        margin: Positive distance.
        boundary: Positive distance, of the margin loss; where it starts, if it is learned.
        learn_boundary: Whether the boundary moves down its gradient too, with 0.05 of the learning rate.
        noise: Standard deviation, as a distance, of what is added to the points at the start.
        steps: Number of steps, at least 1.
        learning_rate: Positive, at the start; falls linearly to 0.
        seeds: Integers, a run each, side by side; no run depends on the others.
        record_every: Number of steps between entries of the path, or `None` for start and end only.

    Returns:
        `Descent`.
    """
    points, classes = check_points(points, classes, len(points))
    _check(classes, flip_probability, loss, positives, steps, seeds, learn_boundary, record_every)
    for name, value in (("margin", margin), ("boundary", boundary), ("learning_rate", learning_rate)):
        number(name, value, "(0, inf)")
    generators = [np.random.default_rng(seed) for seed in seeds]
    points = points + noise * np.stack([generator.standard_normal(points.shape) for generator in generators])
    boundary = np.full(len(generators), float(boundary))
    path, recorded = [points], [0]
    for done in range(1, steps + 1):
        rate = learning_rate * (1 - (done - 1) / steps)
        uniform = np.stack([generator.random(len(classes)) for generator in generators])
        labels = observed_labels(classes, flip_probability, 2, uniform)
        _, gradient, slope = STEPS[loss](points, labels, positives, margin, boundary)
        points = points - rate * gradient
        boundary = boundary - learn_boundary * BOUNDARY_RATE * rate * slope
        if done == steps or (record_every and done % record_every == 0):
            path.append(points)
            recorded.append(done)
    return Descent(points, boundary, np.stack(path), np.array(recorded))


def _check(classes, flip_probability, loss, positives, steps, seeds, learn_boundary, record_every):
    check_noise(flip_probability, 2)
    check_positives(positives)
    if classes.max() != 1:
        raise ValueError(f"`classes` must hold two classes. Received: {classes.max() + 1} classes.")
    one_of("loss", loss, STEPS)
    integer("steps", steps, 1)
    if record_every is not None:
        integer("record_every", record_every, 1)
    if not isinstance(learn_boundary, (bool, np.bool_)):
        raise ValueError(f"`learn_boundary` must be True or False. Received: learn_boundary={learn_boundary!r}.")
    if not np.iterable(seeds) or not len(seeds):
        raise ValueError(f"`seeds` must hold at least one integer. Received: seeds={seeds}.")


def point_spread(points, classes, modes):
    """How far apart the modes of one class, its points and the other class are.

    Args:
        points: Floats `(N, D)`.
        classes, modes: Integers `(N,)`, as from `two_modes`: class 0 has the modes 0 and 1.

    Returns:
        Dictionary of floats: `"cross_mode"`, the distance between the means of the two modes; `"within_mode"`, the mean
        distance of a point to the mean of its mode; `"between_classes"`, the distance between the means of the classes;
        `"mode_recall@1"`, the share of points of class 0 whose nearest other point in class 0 is of their mode, ties
        against it.
    """
    one, two, other = (points[modes == mode] for mode in (0, 1, 2))
    both, of_two = points[classes == 0], modes[classes == 0]
    distances = distances_between(both) + np.where(np.eye(len(both), dtype=bool), np.inf, 0)
    same = of_two[:, None] == of_two
    nearest_same, nearest_other = (np.where(mask, distances, np.inf).min(1) for mask in (same, ~same))
    return {
        "cross_mode": float(np.linalg.norm(one.mean(0) - two.mean(0))),
        "within_mode": float(np.mean(np.linalg.norm(both - np.stack([one.mean(0), two.mean(0)])[of_two], axis=1))),
        "between_classes": float(np.linalg.norm(both.mean(0) - other.mean(0))),
        "mode_recall@1": float(np.mean(nearest_same < nearest_other)),
    }
