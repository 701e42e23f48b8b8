"""The smallest class that can collapse: two modes, beside one other class."""

import numpy as np

from keras_epos._checks import integer, number


def two_modes(per_mode, distance, other_distance):
    """Points of class 0 in two modes, and of class 1 in one place that is equally far from both.

    Args:
        per_mode: Number of points of each mode, at least 1; class 1 has as many as both.
        distance: Distance between the modes, at least 0.
        other_distance: Distance of class 1 to each mode, positive, at least half of `distance`.

    Returns:
        `(points, classes, modes)`: floats `(4 * per_mode, 2)`, integers 0 and 1, and integers 0, 1 and, for class 1, 2.

    Raises:
        ValueError: If an argument is out of range.
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
