"""How far apart samples of one class, of one mode and of different classes are."""

import numpy as np

from keras_epos._rows import Rows, classes_of

# Distances below this are rounding.
ZERO = 1e-12


def spread(embeddings, labels):
    """Mean cosine distances `1 - s`, from 0 to 2, inside classes and between them.

        intra = mean over classes of the mean over i != j of the class of (1 - s_ij)
        inter = mean over pairs of classes of (1 - cosine of their means)

    Args:
        embeddings: Finite floats `(N, D)`, any scale: rows are L2-normalized here.
        labels: Integers or strings `(N,)`.

    Returns:
        Dictionary of floats: `"intra_distance"`, over classes of two samples or more; `"inter_distance"`; and
        `"intra_inter_ratio"`, their quotient: 0 when every class is a point, infinite when only their means coincide.

    Raises:
        ValueError: for shapes that do not fit, embeddings that are not finite, fewer than two classes, or no class of
            two samples.

    Reference: Roth et al. 2020, https://arxiv.org/abs/2002.08473.
    """
    rows = Rows.of(embeddings, labels)
    sizes = rows.counts
    check_sizes(sizes)
    sums = rows.sums(rows.labels, len(sizes))
    pairs = sizes * (sizes - 1)
    intra = _mean_of(pairs - _similar_pairs(rows, rows.labels, sums), pairs)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    means = np.divide(sums, norms, out=np.zeros_like(sums), where=norms > 0)
    num_classes = len(sizes)
    total = means.sum(axis=0)
    inter = 1 - (total @ total - np.sum(means * means)) / (num_classes * (num_classes - 1))
    inter = float(inter) if inter > ZERO else 0.0
    ratio = intra / inter if inter > 0 else (np.inf if intra > 0 else 0.0)
    return {"intra_distance": intra, "inter_distance": inter, "intra_inter_ratio": ratio}


def mode_spread(embeddings, labels, modes):
    """Mean cosine distances inside a class, between samples of one mode and between samples of different modes.

    Args:
        embeddings: Finite floats `(N, D)`, any scale.
        labels: Integers or strings `(N,)`.
        modes: Integers or strings `(N,)`: the looks that a class hides. A mode that occurs in two classes counts as
            two.

    Returns:
        Dictionary of floats from 0 to 2: `"within_mode_distance"` and `"cross_mode_distance"`, each a mean over the
        classes that have such pairs. When the second falls to the first, the modes have become one.

    Raises:
        ValueError: for shapes that do not fit, embeddings that are not finite, or when no class has two modes or no
            mode two samples.
    """
    rows = Rows.of(embeddings, labels)
    classes, modes = rows.labels, classes_of(modes, len(rows), "modes")[1]
    modes = np.unique(classes * (modes.max() + 1) + modes, return_inverse=True)[1].reshape(-1)
    class_of = np.zeros(modes.max() + 1, int)
    class_of[modes] = classes
    sizes, class_sizes = np.bincount(modes), np.bincount(classes)
    within = sizes * (sizes - 1)
    alike = _similar_pairs(rows, modes, rows.sums(modes, len(sizes)))
    class_within = np.bincount(class_of, within)
    class_alike = np.bincount(class_of, alike)
    all_alike = _similar_pairs(rows, classes, rows.sums(classes, len(class_sizes)))
    cross = class_sizes * (class_sizes - 1) - class_within
    if not class_within.any() or not cross.any():
        raise ValueError(
            "`modes` must give one class two modes or more, and one mode two samples or more. Received: "
            f"{len(sizes)} modes in {len(class_sizes)} classes of {len(rows)} samples."
        )
    return {
        "within_mode_distance": _mean_of(class_within - class_alike, class_within),
        "cross_mode_distance": _mean_of(cross - (all_alike - class_alike), cross),
    }


def check_sizes(sizes):
    """`sizes` of the classes `(C,)`."""
    if len(sizes) < 2 or sizes.max() < 2:
        raise ValueError(
            "`labels` must hold two classes or more, and one of two samples or more. Received: "
            f"{len(sizes)} {'class' if len(sizes) == 1 else 'classes'}, the largest of {sizes.max()}."
        )


def check_classes(labels, modes=None):
    """Raise now what `measure` would raise for these labels and modes whatever the embeddings."""
    check_sizes(np.bincount(classes_of(labels, len(labels))[1]))
    if modes is not None:
        classes_of(modes, len(labels), "modes")


def _similar_pairs(rows, groups, sums):
    """Sum of the similarities of ordered pairs of different samples in each group, in O(N D)."""
    return np.sum(sums * sums, axis=1) - np.bincount(groups, np.sum(rows.units**2, axis=1))


def _mean_of(totals, pairs):
    """Mean over the groups that have pairs of `totals / pairs`."""
    mean = float(np.mean(totals[pairs > 0] / pairs[pairs > 0]))
    return mean if mean > ZERO else 0.0
