"""Verification: do two images show the same class? Error rates of pairs, and the thresholds that belong to them."""

import dataclasses

import numpy as np

from keras_epos._checks import integer, number
from keras_epos._rows import CHUNK, Rows, blocks, chunks, describe, to_numpy
from keras_epos.retrieval._checks import check_gallery_arguments, check_order, check_same_dim
from keras_epos.retrieval._class_draws import Tally, drawn, warn_of_few_classes
from keras_epos.retrieval._class_means import NONE
from keras_epos.retrieval._classes import relate, sides
from keras_epos.retrieval._pair_counts import BINS, Between, PairCounts, cut
from keras_epos.retrieval._product import TIE
from keras_epos.retrieval._ranks import positives_of
from keras_epos.retrieval._rates import interval_of
from keras_epos.retrieval._threshold import percent


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Verification:
    """Error rates of pairs at a few thresholds. A pair is accepted if its cosine similarity is above the threshold.

    Attributes:
        wanted: The false-accept rates that were asked for, float64 `(K,)`.
        thresholds: The lowest threshold at which no larger share of the pairs of different classes is accepted, `(K,)`.
        false_accept_rate: That share as it is, `(K,)`: the false-match rate.
        true_accept_rate: Share of the pairs of the same class that is accepted, `(K,)`: TAR at FAR.
        intervals: `(low, high)` of it for new classes at the same thresholds, float64 `(K, 2)`; `None` for lists of
            pairs.
        eer: The equal error rate: the false-reject rate at the lowest threshold at which no larger share of the pairs
            of different classes is accepted. Ties count against you, so a constant embedding has 1.
        eer_threshold: That threshold.
        accuracy: For lists of pairs, the mean over the folds of the share of right answers, each at the threshold that
            is best for the other folds; else `None`.
        accuracy_error: The standard error of that mean.
        num_same, num_different: Pairs of either kind; without a gallery each is counted in both directions.
    """

    wanted: np.ndarray
    thresholds: np.ndarray
    false_accept_rate: np.ndarray
    true_accept_rate: np.ndarray
    intervals: np.ndarray | None
    eer: float
    eer_threshold: float
    accuracy: float | None
    accuracy_error: float | None
    num_same: int
    num_different: int

    @property
    def false_reject_rate(self):
        """Share of the pairs of the same class that is refused, `(K,)`: FNMR at FMR."""
        return 1 - self.true_accept_rate

    def __repr__(self):
        lines = [
            f"{percent(rate)} of pairs of the same class accepted at {percent(wanted)} of others: threshold {value:.4f}"
            for wanted, rate, value in zip(self.wanted, self.true_accept_rate, self.thresholds, strict=True)
        ]
        lines.append(f"equal error rate {percent(self.eer)}: threshold {self.eer_threshold:.4f}")
        if self.accuracy is not None:
            lines.append(f"accuracy {percent(self.accuracy)} +- {percent(self.accuracy_error)}")
        return "\n".join([*lines, f"{self.num_same:,} pairs of the same class, {self.num_different:,} of others"])


def verify(
    embeddings,
    labels,
    gallery_embeddings=None,
    gallery_labels=None,
    *,
    false_accept_rates=(0.001, 0.01, 0.1),
    interval=0.95,
    seed=0,
    ids=None,
    gallery_ids=None,
    block_size=1024,
):
    """How well a threshold tells pairs of the same class from pairs of different classes: all pairs of a labeled set.

    Every row is compared with every other, or with every reference of the gallery. The pairs are counted exactly and
    not kept, so memory does not grow with their number.

    Args:
        embeddings: Finite floats `(N, D)`, any scale: rows are L2-normalized here.
        labels: Integers or strings `(N,)` or `(N, 1)`.
        gallery_embeddings, gallery_labels: `(G, D)` and `(G,)`, both or neither.
        false_accept_rates: In (0, 1): shares of the pairs of different classes.
        interval: In (0, 1): confidence of the intervals, from a bootstrap over classes.
        seed: Integer of at least 0, of the bootstrap.
        ids, gallery_ids: As in `evaluate`: rows of one id are no pair.
        block_size: Queries compared at once.

    Returns:
        `Verification`.

    Raises:
        ValueError: for what `evaluate` turns away, and without a pair of the same or of different classes.

    Reference: Grother, Ngan and Hanaoka 2019, https://doi.org/10.6028/NIST.IR.8271 (false match and non-match rates).

    Examples:
        >>> labels = np.repeat(np.arange(30), 5)
        >>> rows = np.random.default_rng(0).normal(size=(30, 16))[labels]
        >>> keras_epos.retrieval.verify(rows, labels, false_accept_rates=0.01).eer
        0.0
    """
    rates = _check_rates(false_accept_rates)
    number("interval", interval, "(0, 1)", "a confidence")
    integer("seed", seed, 0)
    integer("block_size", block_size, 1)
    check_order(embeddings, labels, gallery_embeddings)
    check_gallery_arguments(gallery_embeddings, gallery_labels, ids, gallery_ids)
    queries, gallery = sides(embeddings, gallery_embeddings, ids, gallery_ids)
    classes = relate("equal", queries, gallery, labels, gallery_labels)
    pairs = PairCounts(classes, block_size)
    found = _rates_of(pairs.cuts, *_check_totals(pairs.totals), rates)
    intervals = _intervals(pairs, classes, found["thresholds"], found["true_accept_rate"], interval, seed)
    return Verification(**found, intervals=intervals, accuracy=None, accuracy_error=None)


def verify_pairs(first, second, is_same, *, false_accept_rates=(0.001, 0.01, 0.1), folds=10):
    """How well a threshold tells pairs of the same class from others: a list of pairs, as of LFW or IJB.

    Args:
        first, second: Finite floats `(P, D)`: row `i` of both is a pair. For templates of several images pass the sums
            of their unit rows.
        is_same: Booleans, or zeros and ones, `(P,)`.
        false_accept_rates: In (0, 1): shares of the pairs of different classes.
        folds: Number of parts of equal length, in the order of the list, as LFW has ten; or integers `(P,)`, the part
            of each pair.

    Returns:
        `Verification` with an accuracy, and without intervals.

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
    rates = _check_rates(false_accept_rates)
    first, second = Rows(first, name="first"), Rows(second, name="second")
    check_same_dim(first, second)
    same = to_numpy(is_same)
    if len(first) != len(second) or same.shape != (len(first),) or not np.isin(same, (0, 1)).all():
        raise ValueError(
            f"`is_same` must be zeros and ones, one for each pair of rows of `first` and `second`. Received: "
            f"is_same={describe(same)} for {len(first)} and {len(second)} rows."
        )
    same = same.astype(bool)
    similarity = np.empty(len(same))
    for part in chunks(np.arange(len(same)), first.dim):
        similarity[part] = np.einsum("pd,pd->p", first.unit(part), second.unit(part))
    kept = [np.sort(similarity[~same]), np.sort(similarity[same])]
    whole = Between(-1 - 1e-9, 1 + 1e-9, np.zeros(2, np.int64), np.zeros((2, BINS)), kept)
    totals = _check_totals(np.array([len(part) for part in kept]))
    found = _rates_of(lambda goals: [cut(whole, goal) for goal in goals], *totals, rates)
    accuracies = _accuracies(similarity, same, _check_folds(folds, len(same)))
    error = float(accuracies.std(ddof=1) / np.sqrt(len(accuracies)))
    return Verification(**found, intervals=None, accuracy=float(accuracies.mean()), accuracy_error=error)


def _rates_of(cuts_of, num_different, num_same, rates):
    """The parts of a `Verification` by a function that finds the cuts of some goals."""
    # A count that was a share may be off by a rounding.
    goals = [lambda other, same, most=rate * num_different + 1e-9: other > most for rate in rates]
    goals.append(lambda other, same: other * float(num_same) > (num_same - same) * float(num_different))
    *cuts, (eer_threshold, (_, accepted)) = cuts_of(goals)
    return {
        "wanted": np.array(rates),
        "thresholds": np.array([threshold for threshold, _ in cuts]),
        "false_accept_rate": np.array([counts[0] / num_different for _, counts in cuts]),
        "true_accept_rate": np.array([counts[1] / num_same for _, counts in cuts]),
        "eer": float(1 - accepted / num_same),
        "eer_threshold": eer_threshold,
        "num_same": num_same,
        "num_different": num_different,
    }


def _intervals(pairs, classes, thresholds, rates, interval, seed):
    """Intervals of the share of pairs of the same class above each threshold, `(K, 2)`; classes are drawn."""
    labels = classes.queries.labels
    accepted, total = np.zeros((len(thresholds), labels.max() + 1)), np.zeros(labels.max() + 1)
    size = max(1, min(pairs.product.block_size, CHUNK // classes.most_positives()))
    for rows in blocks(np.arange(len(labels)), size):
        query, similarity, _ = positives_of(pairs.product, classes, rows)
        for counts, threshold in zip(accepted, thresholds, strict=True):
            counts += np.bincount(labels[rows[query]], similarity > threshold, minlength=len(total))
        total += np.bincount(labels[rows[query]], minlength=len(total))
    seen = np.flatnonzero(total)
    warn_of_few_classes(len(seen), stacklevel=4)
    tallies = [Tally(counts[seen], NONE, NONE, NONE) for counts in (*accepted, total)]
    *accepted, total = drawn(tallies, len(seen), seed)
    ends = [interval_of(draws / total, rate, interval) for draws, rate in zip(accepted, rates, strict=True)]
    return np.array(ends)


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


def _check_rates(rates):
    return [float(number("false_accept_rates", rate, "(0, 1)", "shares")) for rate in np.atleast_1d(rates).tolist()]


def _check_totals(totals):
    if not totals.all():
        raise ValueError(
            "`labels` must give pairs of the same class and of different classes. Received: "
            f"{totals[1]} of the same, {totals[0]} of different classes."
        )
    return int(totals[0]), int(totals[1])


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
