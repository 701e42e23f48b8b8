"""All thresholds that tell some searches apart, and what each of them accepts."""

from typing import NamedTuple

import numpy as np

from keras_epos.retrieval._product import TIE

# Kinds of searches: of a query that is unknown, of a known one whose nearest reference is of its class, or of another.
UNKNOWN, RIGHT, WRONG = range(3)


class Cuts(NamedTuple):
    """Thresholds, rising, each halfway between two similarities that differ, and how many searches each accepts.

    Attributes:
        values: Cosine similarities `(K,)`. The first accepts everything. None refuses everything.
        false_accepts: Accepted unknown queries, int `(K,)`.
        right, wrong: Known queries accepted with their class, and with another.
        num_unknown, num_known: All of them.
    """

    values: np.ndarray
    false_accepts: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    num_unknown: int
    num_known: int

    @property
    def accepted(self):
        """Accepted queries, known and unknown together, int `(K,)`."""
        return self.false_accepts + self.right + self.wrong

    @property
    def false_accept_rate(self):
        return self.false_accepts / max(1, self.num_unknown)

    @property
    def identification_rate(self):
        return self.right / max(1, self.num_known)

    def precision(self, unknown_share):
        misidentified = self.wrong / max(1, self.num_known)
        return precision_of(self.false_accept_rate, self.identification_rate, misidentified, unknown_share)


def cuts_of(similarity, kind):
    """The `Cuts` between all similarities that searches of each kind end with, float64 `(S,)` and int `(S,)`."""
    order = np.argsort(similarity)
    similarity, kind = similarity[order], kind[order]
    first = np.flatnonzero(np.diff(similarity, prepend=-np.inf) > TIE)
    values = (similarity[first] + similarity[first - 1]) / 2
    values[0] = -1.0
    counts = [np.cumsum((kind == which)[::-1])[::-1][first] for which in (UNKNOWN, RIGHT, WRONG)]
    num_unknown = int(counts[UNKNOWN][0])
    return Cuts(values, *counts, num_unknown, len(kind) - num_unknown)


def precision_of(false_accept_rate, right, wrong, unknown_share):
    """Share of right labels among accepted queries, where `unknown_share` of all queries are unknown; 1 of none."""
    right, wrong = (1 - unknown_share) * right, (1 - unknown_share) * wrong
    accepted = right + wrong + unknown_share * false_accept_rate
    return np.where(accepted > 0, right / np.where(accepted > 0, accepted, 1), 1.0)
