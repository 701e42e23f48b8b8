"""Similarities of pairs of the same class and of different classes, counted exactly without keeping them.

Three looks at the pairs: a few queries tell about where the thresholds are, float32 similarities of all pairs above the
lowest of them are counted in narrow bins, and what lies in the bins of the thresholds is computed in float64.
"""

from typing import NamedTuple

import numpy as np

from keras_epos._rows import blocks
from keras_epos.retrieval._product import TIE, Product, on_host

# Bins of a histogram, and similarities that are kept when no more are left between two bounds.
BINS = 2**14
KEPT = 2**20
# Queries that are looked at first.
SAMPLE = 256
# Bounds of all similarities.
LOWEST, HIGHEST = -1 - 1e-9, 1 + 1e-9


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
    """Counts of the pairs of queries and references that are not the same item, of different and of the same class.

    Attributes:
        totals: All of them, int `(2,)`.
        whole: `Between` of bounds that hold all thresholds: exact where there are few pairs, else as float32 has them.
    """

    def __init__(self, classes, block_size):
        self._classes, self.product = classes, Product(classes.queries, classes.gallery, block_size)
        self.totals = classes.totals()
        self.whole = None

    def cuts(self, goals):
        """For each of the goals the lowest threshold that it does not refuse, and what that accepts.

        Args:
            goals: Functions of the pairs accepted, of different and of the same class, ints `(K,)`, that return
                booleans. What they refuse they refuse at all lower thresholds.

        Returns:
            List of `(threshold, accepted)`.
        """
        if len(self._classes.queries) * len(self._classes.gallery) <= KEPT:
            (self.whole,) = self._between([(LOWEST, HIGHEST)])
            return [cut(self.whole, goal) for goal in goals]
        self.whole = self._histogram_of_all(goals)
        bounds = [_narrower(self.whole, goal, 2 * (TIE + self.product.error)) for goal in goals]
        found = [None] * len(goals)
        while None in found:
            due = [place for place, one in enumerate(found) if one is None]
            for place, part in zip(due, self._between([bounds[place] for place in due]), strict=True):
                # Pairs that are nearer to each other, and too many to be kept, are ties.
                if part.kept is not None or part.high - part.low <= 16 * TIE:
                    found[place] = cut(part, goals[place])
                else:
                    bounds[place] = _narrower(part, goals[place], 2 * TIE)
        return found

    def _histogram_of_all(self, goals):
        """`Between` of all pairs above a similarity that is below all thresholds."""
        rows, low = np.arange(len(self._classes.queries)), LOWEST
        if len(rows) > 2 * SAMPLE:
            low = self._guess(self._histogram(rows[:: len(rows) // SAMPLE], LOWEST), goals)
        found = self._histogram(rows, low)
        if low > LOWEST and not all(goal(*found.counts.sum(axis=1)[:, None])[0] for goal in goals):
            found = self._histogram(rows, LOWEST)
        return found

    def _guess(self, some, goals):
        """What is below all thresholds, most likely, by the pairs of some queries."""
        accepted = steps(some)[1]
        times = self.totals / np.maximum(accepted[:, 0], 1)
        place = min(np.count_nonzero(goal(*(accepted * times[:, None]))) for goal in goals)
        above = accepted.sum(axis=0)
        enough = np.flatnonzero(above >= 64 + 1.2 * above[max(0, place - 1)])
        return steps(some)[0][enough[-1]] if len(enough) else LOWEST

    def _histogram(self, rows, low):
        """`Between` of the pairs of some queries, as float32 has them."""
        counts, scale = np.zeros((2, BINS), np.int64), np.float32(BINS / (HIGHEST - low))
        for block in self._blocks(rows):
            values = block.above(np.float32(low))[1]
            values -= np.float32(low)
            values *= scale
            counts[block.same] += np.bincount(np.minimum(values.astype(np.int64), BINS - 1), minlength=BINS)
        return Between(low, HIGHEST, np.zeros(2, np.int64), counts, None)

    def _between(self, bounds):
        """`Between` of each of the bounds `(low, high)`. What float32 cannot tell is computed in float64."""
        product, size = self.product, len(bounds)
        lows, highs = np.array(bounds).T
        possible = (lows - 2 * product.error).astype(np.float32)
        sure = (highs + 2 * product.error).astype(np.float32)
        above, counts = np.zeros((size, 2), np.int64), np.zeros((size, 2, BINS), np.int64)
        kept = [([], []) for _ in bounds]
        for block in self._blocks(np.arange(len(self._classes.queries))):
            same, width = block.same, block.similarity.shape[1]
            places, values = block.above(possible.min())
            for one, (low, high) in enumerate(bounds):
                is_sure = values >= sure[one]
                above[one, same] += np.count_nonzero(is_sure)
                unsure = places[(values >= possible[one]) & ~is_sure]
                exact = product.exact(block.rows, block.start, width, *np.divmod(unsure, width))
                above[one, same] += np.count_nonzero(exact >= high)
                exact = exact[(exact >= low) & (exact < high)]
                place = ((exact - low) * (BINS / (high - low))).astype(np.int64)
                counts[one, same] += np.bincount(np.minimum(place, BINS - 1), minlength=BINS)
                if counts[one].sum() <= KEPT:
                    kept[one][same].append(exact)
        are_few = counts.sum(axis=(1, 2)) <= KEPT
        kept = [[_sorted(parts) for parts in both] if few else None for both, few in zip(kept, are_few, strict=True)]
        return [Between(*part) for part in zip(lows, highs, above, counts, kept, strict=True)]

    def _blocks(self, index):
        """Yields a `_Block` of either kind for the queries `index` and all references."""
        classes = self._classes
        for rows in blocks(index, self.product.block_size):
            span = classes.span(rows)
            for start, similarity in self.product.by_block(rows):
                similarity = on_host(similarity)
                low, high = (min(max(border - start, 0), similarity.shape[1]) for border in (span.start, span.stop))
                if low == high:
                    yield _Block(0, rows, start, similarity, slice(0), False)
                    continue
                window, inside = slice(start + low, start + high), slice(low, high)
                yield _Block(0, rows, start, similarity, inside, classes.aside(rows, window))
                own = np.ascontiguousarray(similarity[:, inside])
                yield _Block(1, rows, start + low, own, slice(None), ~classes.grades(rows, window))


class _Block(NamedTuple):
    """Pairs of one kind: float32 similarities of some rows to the references from `start` on.

    Those of the columns `inside` that are `aside`, booleans that broadcast to them, are of no such pair.
    """

    same: int
    rows: np.ndarray
    start: int
    similarity: np.ndarray
    inside: slice
    aside: np.ndarray

    def above(self, threshold):
        """Places in the flat block, rising, and similarities of the pairs of at least the threshold."""
        is_above = self.similarity >= threshold
        is_above[:, self.inside] &= ~np.asarray(self.aside)
        places = np.flatnonzero(is_above)
        return places, self.similarity.reshape(-1)[places]


def steps(part):
    """Thresholds, rising, and how many pairs of different and of the same class each accepts, int `(2, K)`.

    Where similarities are kept, a threshold lies `TIE` above that of a pair, or below all. Else it is the lower edge of
    a bin.
    """
    if part.kept is None:
        edges = part.low + np.arange(BINS) * ((part.high - part.low) / BINS)
        return edges, part.above[:, None] + np.cumsum(part.counts[:, ::-1], axis=1)[:, ::-1]
    thresholds = np.append(max(part.low, -1 - TIE), np.sort(np.concatenate(part.kept)) + TIE)
    accepted = [
        above + len(kept) - np.searchsorted(kept, thresholds, "right")
        for above, kept in zip(part.above, part.kept, strict=True)
    ]
    return thresholds, np.stack(accepted)


def cut(part, is_refused):
    """The threshold of a goal of `PairCounts.cuts` and what it accepts, of what lies `Between` two bounds around it.

    What is above a threshold is accepted, so pairs that tie with one that is refused are refused.
    """
    if part.kept is None:
        everything = part.above + part.counts.sum(axis=1)
        is_high = bool(is_refused(*everything[:, None])[0])
        return (part.high, part.above) if is_high else (part.low, everything)
    thresholds, accepted = steps(part)
    place = int(np.count_nonzero(is_refused(*accepted)))
    return float(thresholds[place]), accepted[:, place]


def _narrower(part, is_refused, slack):
    """The bounds of the bin that the threshold of a goal lies in, or just below all, and some more on both sides."""
    place, width = int(np.count_nonzero(is_refused(*steps(part)[1]))), (part.high - part.low) / BINS
    return part.low + (place - 1) * width - slack, part.low + place * width + slack


def _sorted(parts):
    return np.sort(np.concatenate([np.empty(0), *parts]))
