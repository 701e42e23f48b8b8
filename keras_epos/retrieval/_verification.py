"""Error rates of pairs at a few thresholds, and the curve of all of them."""

import dataclasses
from typing import NamedTuple

import numpy as np

from keras_epos._checks import number
from keras_epos.retrieval._class_draws import Tally, drawn, warn_of_few_classes
from keras_epos.retrieval._class_means import NONE
from keras_epos.retrieval._pair_counts import steps
from keras_epos.retrieval._rates import interval_of
from keras_epos.retrieval._threshold import percent

# Points of a curve at most.
CURVE = 200


class PairCurve(NamedTuple):
    """What other thresholds would give: float64 arrays `(K,)`, false-accept rates rising.

    Attributes:
        thresholds: Cosine similarities. Of more than a million pairs they are right to some 1e-5, as float32 is.
        false_accept_rate: Share of the pairs of different classes that is accepted: the false-match rate.
        true_accept_rate: Share of the pairs of the same class that is accepted.
    """

    thresholds: np.ndarray
    false_accept_rate: np.ndarray
    true_accept_rate: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Verification:
    """Error rates of pairs at a few thresholds. A pair is accepted if its cosine similarity is above the threshold.

    Attributes:
        wanted: The false-accept rates that were asked for, float64 `(K,)`.
        thresholds: The lowest threshold at which no larger share of the pairs of different classes is accepted, `(K,)`.
        false_accept_rate: That share as it is, `(K,)`: the false-match rate.
        true_accept_rate: Share of the pairs of the same class that is accepted, `(K,)`: TAR at FAR.
        intervals: `(low, high)` of it for new classes at the same thresholds, float64 `(K, 2)`; `None` for lists of
            pairs without classes.
        eer: The equal error rate: the false-reject rate at the lowest threshold at which no larger share of the pairs
            of different classes is accepted. Ties count against you, so a constant embedding has 1.
        eer_threshold: That threshold.
        accuracy: For lists of pairs, the mean over the folds of the share of right answers, each at the threshold that
            is best for the other folds; else `None`.
        accuracy_error: The standard error of that mean.
        num_same, num_different: Pairs of either kind; without a gallery each is counted in both directions.
        curve: The `PairCurve` of up to 200 other thresholds, down from one that accepts somewhat more than all above.
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
    curve: PairCurve

    @property
    def false_reject_rate(self):
        """Share of the pairs of the same class that is refused, `(K,)`: FNMR at FMR."""
        return 1 - self.true_accept_rate

    def plot(self, path=None):
        """Draw the share of pairs of the same class that is accepted, and the share that is refused, over the false
        accepts: the ROC and the DET curve.

        Args:
            path: File to write, such as `"verification.png"`, or `None`.

        Returns:
            The figure of matplotlib.

        Raises:
            ImportError: If matplotlib is missing.
        """
        from keras_epos.retrieval._verification_plot import draw

        return draw(self, path)

    def __repr__(self):
        lines = [
            f"{percent(rate)} of pairs of the same class accepted at {percent(wanted)} of others: threshold {value:.4f}"
            for wanted, rate, value in zip(self.wanted, self.true_accept_rate, self.thresholds, strict=True)
        ]
        lines.append(f"equal error rate {percent(self.eer)}: threshold {self.eer_threshold:.4f}")
        if self.accuracy is not None:
            lines.append(f"accuracy {percent(self.accuracy)} +- {percent(self.accuracy_error)}")
        return "\n".join([*lines, f"{self.num_same:,} pairs of the same class, {self.num_different:,} of others"])


def curve_of(part, num_different, num_same):
    """The `PairCurve` of thresholds `Between` two bounds, at evenly spaced powers of the false-accept rate."""
    thresholds, (others, accepted) = steps(part)
    counts = np.unique(np.geomspace(1, max(1, others[0]), CURVE - 1).round().astype(np.int64))
    # False accepts fall as thresholds rise.
    places = np.searchsorted(-others, -np.append(counts[::-1], 0))
    places = np.unique(places[places < len(thresholds)])[::-1]
    return PairCurve(thresholds[places], others[places] / num_different, accepted[places] / num_same)


def rates_of(cuts_of, num_different, num_same, rates):
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


def intervals_of(accepted, total, rates, interval, seed):
    """Intervals of the share of pairs of the same class that is accepted, `(K, 2)`; classes are drawn.

    Args:
        accepted: Such pairs of each class at each threshold, `(K, C)`.
        total: All pairs of each class, `(C,)`.
        rates: The shares `(K,)`.
        interval, seed: As in `verify`.
    """
    seen = np.flatnonzero(total)
    warn_of_few_classes(len(seen), stacklevel=4)
    tallies = [Tally(counts[seen], NONE, NONE, NONE) for counts in (*accepted, total)]
    *accepted, total = drawn(tallies, len(seen), seed)
    ends = [interval_of(draws / total, rate, interval) for draws, rate in zip(accepted, rates, strict=True)]
    return np.array(ends)


def check_rates(rates):
    return [float(number("false_accept_rates", rate, "(0, 1)", "shares")) for rate in np.atleast_1d(rates).tolist()]


def check_totals(totals):
    if not totals.all():
        raise ValueError(
            "`labels` must give pairs of the same class and of different classes. Received: "
            f"{totals[1]} of the same, {totals[0]} of different classes."
        )
    return int(totals[0]), int(totals[1])
