"""Similarities of pairs of the same class and of different classes, counted exactly without keeping them."""

from typing import NamedTuple

import numpy as np
from keras import ops

from keras_epos._rows import blocks
from keras_epos.retrieval._product import TIE, Product

# Bins of a histogram, and similarities that are kept when no more are left between two bounds.
BINS = 2**14
KEPT = 2**20


class Between(NamedTuple):
    """Pairs whose similarity is in `[low, high)`, and how many have more.

    Attributes:
        low, high: The bounds.
        above: Pairs of different classes, and of the same class, with a similarity of at least `high`: int `(2,)`.
        counts: Those between in bins of equal width, int `(2, BINS)`.
        kept: Their similarities, rising, two float64 arrays; `None` if they are more than `KEPT`.
    """

    low: float
    high: float
    above: np.ndarray
    counts: np.ndarray
    kept: list | None


class PairCounts:
    """Counts of the pairs of queries and references that are not the same item, of different and of the same class."""

    def __init__(self, classes, block_size):
        self._classes, self.product = classes, Product(classes.queries, classes.gallery, block_size)
        self._is_small = len(classes.queries) * len(classes.gallery) <= KEPT
        self.whole = self._between(-1 - 1e-9, 1 + 1e-9, is_exact=self._is_small)
        self.totals = self.whole.counts.sum(axis=1)

    def _between(self, low, high, is_exact=True):
        """`Between` of two bounds: what float32 cannot tell is computed in float64, if it must be exact."""
        above, counts = np.zeros(2, np.int64), np.zeros((2, BINS), np.int64)
        kept, scale = ([], []), BINS / (high - low)
        for same, similarity, number in self._parts(low, high, is_exact):
            above[same] += number
            place = ((similarity - low) * scale).astype(np.int32)
            counts[same] += np.bincount(np.clip(place, 0, BINS - 1), minlength=BINS)
            if is_exact and counts.sum() <= KEPT:
                kept[same].append(similarity)
        is_kept = is_exact and counts.sum() <= KEPT
        return Between(low, high, above, counts, [_sorted(parts) for parts in kept] if is_kept else None)

    def _parts(self, low, high, is_exact):
        """Yields `(same, similarity, above)`: similarities of some pairs between the bounds, and how many are above."""
        classes, product = self._classes, self.product
        sure, possible = np.float32(high + 2 * product.error), np.float32(low - 2 * product.error)
        for rows in blocks(np.arange(len(classes.queries)), product.block_size):
            for start, similarity in product.by_block(rows):
                similarity = ops.convert_to_numpy(similarity)
                for same, counted in _kinds(classes, rows, slice(start, start + similarity.shape[1])):
                    if not is_exact:
                        yield same, np.where(counted, similarity, 0)[np.broadcast_to(counted, similarity.shape)], 0
                        continue
                    is_sure = counted & (similarity >= sure)
                    query, reference = np.nonzero(counted & ~is_sure & (similarity >= possible))
                    exact = product.exact(rows, start, similarity.shape[1], query, reference)
                    is_above = exact >= high
                    number = np.count_nonzero(is_sure) + np.count_nonzero(is_above)
                    yield same, exact[~is_above & (exact >= low)], number

    def cut(self, is_refused):
        """The lowest threshold that is not refused, and what it accepts: `(threshold, accepted)`.

        Args:
            is_refused: Function of the pairs accepted, of different and of the same class, ints `(K,)`, that returns
                booleans. What it refuses it refuses at all lower thresholds.
        """
        part, error = self.whole, 2 * self.product.error
        # Pairs that are nearer to each other, and too many to be kept, are ties.
        while part.kept is None and part.high - part.low > 16 * TIE:
            width = (part.high - part.low) / BINS
            # Accepted from the lower edge of each bin on.
            accepted = part.above[:, None] + np.cumsum(part.counts[:, ::-1], axis=1)[:, ::-1]
            place = int(np.count_nonzero(is_refused(*accepted)))
            slack = 2 * TIE + (error if part is self.whole else 0)
            part = self._between(part.low + (place - 1) * width - slack, part.low + place * width + slack)
        return cut(part, is_refused)


def cut(part, is_refused):
    """`PairCounts.cut` of what lies `Between` two bounds that hold the threshold.

    A threshold lies `TIE` above the similarity of a pair, or below all, and what is above the threshold is accepted. So
    pairs that tie with one that is refused are refused.
    """
    if part.kept is None:
        everything = part.above + part.counts.sum(axis=1)
        is_high = bool(is_refused(*everything[:, None])[0])
        return (part.high, part.above) if is_high else (part.low, everything)
    thresholds = np.append(max(part.low, -1 - TIE), np.sort(np.concatenate(part.kept)) + TIE)
    accepted = np.stack(
        [
            above + len(kept) - np.searchsorted(kept, thresholds, "right")
            for above, kept in zip(part.above, part.kept, strict=True)
        ]
    )
    place = int(np.count_nonzero(is_refused(*accepted)))
    return float(thresholds[place]), accepted[:, place]


def _kinds(classes, rows, window):
    """Yields `(same, counted)`: booleans that broadcast to a block, of pairs of different and of the same class."""
    aside = classes.aside(rows, window)
    yield 0, ~aside
    if aside.any():
        yield 1, classes.grades(rows, window)


def _sorted(parts):
    return np.sort(np.concatenate([np.empty(0), *parts]))
