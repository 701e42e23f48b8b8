"""The rates of error at a threshold, with their intervals."""

from typing import NamedTuple

import numpy as np

from keras_epos.retrieval._class_draws import drawn, tally
from keras_epos.retrieval._cuts import precision_of


class Rates(NamedTuple):
    """Shares from 0 to 1 of known and unknown queries, and intervals `(low, high)` of two of them."""

    false_accept_rate: float
    false_accept_interval: tuple
    false_reject_rate: float
    misidentified: float
    precision: float
    precision_interval: tuple


def rates_of(searches, thresholds, has_gallery, unknown_share, interval, seed):
    """The `Rates` of searches at the threshold of each class, float `(C,)`. A gallery that was given is fixed."""
    classes, labels = np.unique(searches.labels, return_inverse=True)
    events = [*searches.accepted(thresholds), searches.is_unknown, searches.is_known]
    if has_gallery:
        tallies = [tally(labels, len(classes), now) for now in events]
    else:
        without = [*searches.without_matched().accepted(thresholds), *events[3:]]
        tallies = [tally(labels, len(classes), *pair, searches.matched) for pair in zip(events, without, strict=True)]
    far, right, wrong, precision = _shares([np.array([now.sum()]) for now in events], unknown_share)[:, 0]
    draws = _shares(drawn(tallies, len(classes), seed), unknown_share)
    # Where no error was seen among C classes, that many had to be drawn without one (the "rule of three").
    unseen = ((1 - interval) / 2) ** (1 / len(classes))
    far_low, far_high = interval_of(draws[0], far, interval)
    precision_low, precision_high = interval_of(draws[3], precision, interval)
    return Rates(
        false_accept_rate=float(far),
        false_accept_interval=(far_low, far_high if far > 0 else max(far_high, 1 - unseen)),
        false_reject_rate=float(max(0, 1 - right - wrong)),
        misidentified=float(wrong),
        precision=float(precision),
        precision_interval=(precision_low if precision < 1 else min(precision_low, unseen), precision_high),
    )


def _shares(counts, unknown_share):
    """False accepts, right and wrong matches as shares of the queries they may come from, and the precision."""
    false_accepts, right, wrong, num_unknown, num_known = counts
    far, right, wrong = (
        np.clip(part / np.where(whole > 0, whole, np.nan), 0, 1)
        for part, whole in ((false_accepts, num_unknown), (right, num_known), (wrong, num_known))
    )
    return np.stack([far, right, wrong, precision_of(far, right, wrong, unknown_share)])


def interval_of(draws, value, interval):
    """Percentiles of the draws, and the value inside. Draws without any query to take a share of do not count."""
    low, high = np.nanquantile(draws, [(1 - interval) / 2, (1 + interval) / 2])
    return float(min(low, value)), float(max(high, value))
