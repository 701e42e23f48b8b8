"""Verification: do two images show the same class? A list of pairs."""

import numpy as np

from keras_epos._checks import integer, number
from keras_epos._rows import Rows, chunks, classes_of, describe, to_numpy
from keras_epos.retrieval._checks import check_same_dim
from keras_epos.retrieval._pair_counts import BINS, HIGHEST, LOWEST, Between, cut
from keras_epos.retrieval._product import TIE
from keras_epos.retrieval._verification import (
    Verification,
    check_rates,
    check_totals,
    curve_of,
    intervals_of,
    rates_of,
)


def verify_pairs(
    first,
    second,
    is_same,
    *,
    pairs=None,
    false_accept_rates=(0.001, 0.01, 0.1),
    folds=10,
    classes=None,
    interval=0.95,
    seed=0,
):
    """How well a threshold tells pairs of the same class from others: a list of pairs, as of LFW or IJB.

    Args:
        first, second: Finite floats `(P, D)`: row `i` of both is a pair. For templates of several images pass
            `template_means`.
        is_same: Booleans, or zeros and ones, `(P,)`.
        pairs: Integers `(P, 2)`: row `pairs[i, 0]` of `first` and row `pairs[i, 1]` of `second` are pair `i`. For lists
            that name a row often; both may be the same array.
        false_accept_rates: In (0, 1): shares of the pairs of different classes.
        folds: Number of parts of equal length, in the order of the list, as LFW has ten; or integers `(P,)`, the part
            of each pair; or `None` for no accuracy.
        classes: Integers or strings `(P,)`: the class of the first of each pair, such as the person; or `None` for no
            intervals.
        interval: In (0, 1): confidence of the intervals, from a bootstrap over these classes.
        seed: Integer of at least 0, of the bootstrap.

    Returns:
        `Verification`, with an accuracy if there are folds, and with intervals if there are classes.

    Raises:
        ValueError: for shapes that do not fit, NaN or infinite embeddings, and without a pair of either kind.

    Reference: Huang et al. 2007, "Labeled Faces in the Wild" (ten folds),
    https://vis-www.cs.umass.edu/lfw/lfw.pdf.

    Examples:
        >>> rows = np.eye(4)
        >>> found = keras_epos.retrieval.verify_pairs(rows, rows[[0, 2, 2, 0]], [1, 0, 1, 0], folds=2)
        >>> found.accuracy
        1.0
    """
    rates = check_rates(false_accept_rates)
    number("interval", interval, "(0, 1)", "a confidence")
    integer("seed", seed, 0)
    first, second = Rows(first, name="first"), Rows(second, name="second")
    check_same_dim(first, second)
    pairs = _check_pairs(pairs, first, second)
    same = to_numpy(is_same)
    if same.shape != (len(pairs),) or not np.isin(same, (0, 1)).all():
        raise ValueError(
            f"`is_same` must be zeros and ones, one for each of {len(pairs)} pairs. Received: is_same={describe(same)}."
        )
    same = same.astype(bool)
    similarity = np.empty(len(same))
    for part in chunks(np.arange(len(same)), first.dim):
        similarity[part] = np.einsum("pd,pd->p", first.unit(pairs[part, 0]), second.unit(pairs[part, 1]))
    kept = [np.sort(similarity[~same]), np.sort(similarity[same])]
    whole = Between(LOWEST, HIGHEST, np.zeros(2, np.int64), np.zeros((2, BINS)), kept)
    totals = check_totals(np.array([len(part) for part in kept]))
    found = rates_of(lambda goals: [cut(whole, goal) for goal in goals], *totals, rates)
    accuracy, error = None, None
    if folds is not None:
        accuracies = _accuracies(similarity, same, _check_folds(folds, len(same)))
        accuracy, error = float(accuracies.mean()), float(accuracies.std(ddof=1) / np.sqrt(len(accuracies)))
    intervals = None
    if classes is not None:
        codes = classes_of(classes, len(same), "classes")[1][same]
        counts = [np.bincount(codes, similarity[same] > threshold) for threshold in found["thresholds"]]
        intervals = intervals_of(counts, np.bincount(codes), found["true_accept_rate"], interval, seed)
    curve = curve_of(whole, *totals)
    return Verification(**found, intervals=intervals, accuracy=accuracy, accuracy_error=error, curve=curve)


def _accuracies(similarity, same, folds):
    """Share of right answers in each fold, at the threshold that is best for all others."""
    found = []
    for fold in np.unique(folds):
        here = folds == fold
        order = np.argsort(-similarity[~here], kind="stable")
        values, right = similarity[~here][order], np.where(same[~here][order], 1, -1)
        # Right answers if the first so many are accepted, but for a constant; none is cut between equals.
        gain = np.append(0, np.cumsum(right))
        gain[np.append(False, np.append(values[:-1] - values[1:] <= TIE, False))] = -len(gain)
        best = int(np.argmax(gain))
        ends = np.append(np.append(np.inf, values), -np.inf)
        threshold = 1.0 + 1e-9 if best == 0 else (ends[best] + max(ends[best + 1], -1 - 1e-9)) / 2
        found.append(np.mean((similarity[here] > threshold) == same[here]))
    return np.array(found)


def _check_pairs(pairs, first, second):
    """Rows of either side for each pair, int `(P, 2)`."""
    if pairs is None:
        if len(first) != len(second):
            raise ValueError(
                f"`second` must have the {len(first)} rows of `first` without `pairs`. Received: {len(second)} rows."
            )
        return np.stack([np.arange(len(first))] * 2, axis=1)
    pairs = to_numpy(pairs)
    sizes = len(first), len(second)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu" or ((pairs < 0) | (pairs >= sizes)).any():
        raise ValueError(
            f"`pairs` must be integers (P, 2), rows of {sizes[0]} of `first` and of {sizes[1]} of `second`. Received: "
            f"pairs={describe(pairs)}{'' if pairs.ndim != 2 else ' with other entries'}."
        )
    return pairs


def _check_folds(folds, num_pairs):
    if np.ndim(folds):
        folds = to_numpy(folds)
        if folds.shape != (num_pairs,) or len(np.unique(folds)) < 2:
            raise ValueError(
                f"`folds` must be a number of parts, or the part of each of {num_pairs} pairs, two parts or more. "
                f"Received: folds={describe(folds)}."
            )
        return folds
    integer("folds", folds, 2, num_pairs)
    return np.arange(num_pairs) * folds // num_pairs
