"""Matrices of distances between the rows of a batch."""

from collections.abc import Callable

from keras import ops

from keras_epos._all_products import products_of_all
from keras_epos._config import revived
from keras_epos._pairs import unit
from keras_epos.compat.tfa._inputs import precise


def pairwise_distance(feature, squared=False):
    """Euclidean distance of each row to each.

    Args:
        feature: Floats `(B, D)`, any float dtype.
        squared: Whether to return squared distances.

    Returns:
        `(B, B)` in float32 (float64 for float64 input), 0 on the diagonal. The gradient is 0 where a distance is 0.
    """
    rows = precise(feature)
    lengths = ops.sum(ops.square(rows), axis=1)
    distances = lengths[:, None] + lengths[None, :] - 2.0 * products_of_all(rows)
    numbers = ops.arange(ops.shape(rows)[0], dtype="int32")
    # Rounding can make the distance of close rows negative. 1 stands in for what the root cannot differentiate.
    apart = ops.logical_and(distances > 0, numbers[:, None] != numbers[None, :])
    distances = ops.where(apart, distances, ops.ones_like(distances))
    return ops.where(apart, distances if squared else ops.sqrt(distances), ops.zeros_like(distances))


def angular_distance(feature):
    """One minus the cosine similarity of each row to each.

    Unlike the original, rows of zeros have a gradient of 0 instead of a huge one.

    Args:
        feature: Floats `(B, D)`, any float dtype and any length.

    Returns:
        `(B, B)` in float32 (float64 for float64 input), from 0 to 2.
    """
    rows = unit(precise(feature))
    return ops.relu(1.0 - products_of_all(rows))


METRICS = {
    "L2": pairwise_distance,
    "squared-L2": lambda rows: pairwise_distance(rows, squared=True),
    "angular": angular_distance,
}


def metric(distance_metric):
    """The function `(B, D) -> (B, B)` of a name, of its Keras config, or itself.

    Raises:
        ValueError: If it is none of these.
    """
    distance_metric = revived(distance_metric, Callable)
    if isinstance(distance_metric, str) and distance_metric in METRICS:
        return METRICS[distance_metric]
    if callable(distance_metric):
        return distance_metric
    raise ValueError(
        f"`distance_metric` must be one of {list(METRICS)} or a function from embeddings (B, D) to distances (B, B). "
        f"Received: distance_metric={distance_metric!r}"
    )
