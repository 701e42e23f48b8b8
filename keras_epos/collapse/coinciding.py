"""How many samples lie on another sample of their class."""

import numpy as np

from keras_epos._checks import integer, number
from keras_epos.collapse.rows import codes_of, unit_rows


def coinciding(embeddings, labels, distance=1e-3, block_size=1024):
    """Share of the samples whose nearest positive is closer than `distance`, of those that have a positive.

    A few copies of images are no harm; when most samples lie on each other their class has collapsed to a few
    points, and no gradient tells them apart again.

    Args:
        embeddings: Finite floats `(N, D)`, any scale: rows are L2-normalised here.
        labels: Integers or strings `(N,)`.
        distance: Euclidean distance of unit rows, from 0 to 2.
        block_size: Samples of a class compared at once with all others of it.

    Returns:
        Float from 0 to 1.

    Raises:
        ValueError: for shapes that do not fit, embeddings that are not finite, or when no class has two samples.
    """
    number("distance", distance, "(0, 2]")
    integer("block_size", block_size, 1)
    rows, classes = unit_rows(embeddings), codes_of("labels", labels, embeddings)
    order = np.argsort(classes, kind="stable")
    ends = np.cumsum(np.bincount(classes))
    found = counted = 0
    for part in np.split(rows[order], ends[:-1]):
        if len(part) < 2:
            continue
        counted += len(part)
        for start in range(0, len(part), block_size):
            similarity = part[start : start + block_size] @ part.T
            own = np.arange(len(similarity))
            similarity[own, start + own] = -np.inf
            found += int(np.sum(similarity.max(axis=1) > 1 - distance**2 / 2))
    if not counted:
        raise ValueError("`labels` must hold a class of two samples or more. Received: all labels differ.")
    return found / counted
