"""All measures of collapse at once, and those that look at neighbors and clusters."""

import numpy as np

from keras_epos import retrieval
from keras_epos._checks import integer, number
from keras_epos._rows import Rows, classes_of
from keras_epos.collapse._spectrum import effective_rank, spectral_decay
from keras_epos.collapse._spread import mode_spread, spread


def measure(embeddings, labels, modes=None):
    """What tells a collapsed embedding from one that keeps the looks of its classes.

    Args:
        embeddings: Finite floats `(N, D)`, any scale: rows are L2-normalized here.
        labels: Integers or strings `(N,)`: the classes that were trained.
        modes: Integers or strings `(N,)`: the looks that the classes hide, or `None` where they are not known.

    Returns:
        Dictionary of floats: `"recall@1"` of the classes; `"intra_distance"`, `"inter_distance"` and
        `"intra_inter_ratio"` of `spread`; `"effective_rank"` of all and `"class_effective_rank"` inside classes;
        `"spectral_decay"`; `"coinciding"`. With modes also `"mode_recall@1"`, `"within_mode_distance"` and
        `"cross_mode_distance"`.

    Raises:
        ValueError: as the single measures do.

    Examples:
        >>> values = keras_epos.collapse.measure(embeddings, labels)
        >>> "intra_inter_ratio" in values
        True
    """
    rows = Rows(embeddings, labels)
    values = {
        **_recall("recall@1", rows, labels),
        **spread(rows, labels),
        "effective_rank": effective_rank(rows),
        "class_effective_rank": effective_rank(rows, labels),
        "spectral_decay": spectral_decay(rows),
        "coinciding": coinciding(rows, labels),
    }
    if modes is not None:
        values |= {**_recall("mode_recall@1", rows, modes), **mode_spread(rows, labels, modes)}
    return values


def coinciding(embeddings, labels, distance=1e-3, block_size=1024):
    """Share of the samples whose nearest positive is closer than `distance`, of those that have a positive.

    A few copies of images are no harm; when most samples lie on each other their class has collapsed to a few
    points, and no gradient tells them apart again.

    Args:
        embeddings: Finite floats `(N, D)`, any scale: rows are L2-normalized here.
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
    rows = Rows.of(embeddings, labels)
    found = counted = 0
    for members in rows.members():
        if len(members) < 2:
            continue
        part = rows.unit(members)
        counted += len(part)
        for start in range(0, len(part), block_size):
            similarity = part[start : start + block_size] @ part.T
            own = np.arange(len(similarity))
            similarity[own, start + own] = -np.inf
            found += int(np.sum(similarity.max(axis=1) > 1 - distance**2 / 2))
    if not counted:
        raise ValueError("`labels` must hold a class of two samples or more. Received: all labels differ.")
    return found / counted


def mode_nmi(embeddings, modes, seed=0):
    """How well k-means finds the hidden modes: normalized mutual information, arithmetic mean.

    Args:
        embeddings: Finite floats `(N, D)`, any scale: rows are L2-normalized here.
        modes: Integers or strings `(N,)`. There are as many clusters as modes.
        seed: Integer of the starts; the best of four counts.

    Returns:
        Float from 0 (clusters say nothing about modes) to 1.

    Raises:
        ImportError: if scikit-learn is missing.
        ValueError: for shapes that do not fit or embeddings that are not finite.

    Examples:
        >>> print(f"{keras_epos.collapse.mode_nmi(np.eye(2)[[0, 0, 1, 1]], np.array([0, 0, 1, 1])):.1f}")
        1.0
    """
    try:
        from sklearn.cluster import KMeans
        from sklearn.metrics import normalized_mutual_info_score
    except ImportError as error:
        raise ImportError("`mode_nmi` needs scikit-learn: `pip install scikit-learn`.") from error
    rows = Rows.of(embeddings)
    kinds, modes = classes_of(modes, len(rows), "modes")
    clusters = KMeans(len(kinds), n_init=4, random_state=seed).fit_predict(rows.units)
    return float(normalized_mutual_info_score(modes, clusters))


def _recall(name, rows, labels):
    return {name: retrieval.evaluate(rows.values, labels, k=(1,), metrics="recall")["recall@1"]}
