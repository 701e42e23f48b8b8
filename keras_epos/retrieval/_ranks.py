"""The rank of every positive of every query, exactly, whatever the length of the list."""

from typing import NamedTuple

import numpy as np

from keras_epos._rows import CHUNK, blocks
from keras_epos.retrieval._product import TIE, on_host


class Ranks(NamedTuple):
    """The positives of some queries, one entry a positive `(P,)`: those of a query side by side, best rank first.

    Attributes:
        query: Place of the query in its block, rising.
        place: 1 for the first positive of a query, 2 for the second.
        rank: Its rank among all references of the query, from 1 on. Ties count against it.
        grade: How relevant it is.
        count: Positives of each query of the block, int `(Q,)`.
    """

    query: np.ndarray
    place: np.ndarray
    rank: np.ndarray
    grade: np.ndarray
    count: np.ndarray


def ranks_of(product, classes):
    """Yields `(rows, ranks)`: some queries, and the `Ranks` of their positives."""
    # Positives of a block, and booleans of a block with as many references, fit into memory.
    size = max(1, min(product.block_size, CHUNK // classes.most_positives()))
    for rows in blocks(np.arange(len(classes.queries)), size):
        query, similarity, grade = positives_of(product, classes, rows)
        count = np.bincount(query, minlength=len(rows))
        place = np.arange(len(query)) - np.repeat(np.cumsum(count) - count, count) + 1
        yield rows, Ranks(query, place, place + _ahead(product, classes, rows, query, similarity - TIE), grade, count)


def positives_of(product, classes, rows):
    """Query, similarity and grade of each positive of `rows`, in the order of their ranks."""
    span, found = classes.span(rows), []
    for part in blocks(np.arange(span.start, span.stop), max(1, CHUNK // len(rows))):
        window = slice(part[0], part[-1] + 1)
        grades = classes.grades(rows, window)
        query, column = np.divmod(np.flatnonzero(grades > 0), len(part))
        similarity = product.exact(rows, window.start, len(part), query, column)
        found.append((query, similarity, grades[query, column].astype(float)))
    if not found:
        return np.empty(0, np.int64), np.empty(0), np.empty(0)
    query, similarity, grade = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((-similarity, query))
    query, similarity, grade = query[order], similarity[order], grade[order]
    if len(grade) and grade.min() < grade.max():
        # Of positives that tie, the least relevant comes first, and all are as far as the last of them.
        is_first = np.ones(len(query), bool)
        is_first[1:] = (query[1:] != query[:-1]) | (similarity[:-1] - similarity[1:] > TIE)
        group = np.cumsum(is_first) - 1
        similarity = np.minimum.reduceat(similarity, np.flatnonzero(is_first))[group]
        grade = grade[np.lexsort((grade, group))]
    return query, similarity, grade


def _ahead(product, classes, rows, query, threshold):
    """How many negatives are at least as similar as each threshold `(P,)` of the queries `query`, which rise."""
    ahead = np.zeros(len(query), np.int64)
    # Above `high` for certain, below `low` for certain: one float32 beyond the bound of the error.
    high = np.nextafter((threshold + product.error).astype(np.float32), np.float32(np.inf))
    low = np.nextafter((threshold - product.error).astype(np.float32), np.float32(-np.inf))
    if not len(query):
        return ahead
    bounds, span = np.stack([np.nextafter(high, np.float32(np.inf)), low], axis=1), classes.span(rows)
    for start, similarity in product.by_block(rows):
        similarity = on_host(similarity)
        window = slice(start, start + similarity.shape[1])
        similarity = _negatives(similarity, classes, rows, window, span)
        certain, possible = _at_least(np.sort(similarity, axis=1), query, bounds).T
        unsure = np.flatnonzero(possible > certain)
        if len(unsure) > MANY * len(rows):
            # So many that all of them at once are quicker, as for large classes and after a collapse.
            exact = _negatives(product.exact_block(rows, window), classes, rows, window, span)
            ahead += _at_least(np.sort(exact, axis=1), query, threshold)
            continue
        ahead += certain
        for part in blocks(unsure, max(1, SCANNED // similarity.shape[1])):
            some = similarity[query[part]]
            near = (some >= low[part, None]) & (some <= high[part, None])
            place, column = np.divmod(np.flatnonzero(near), some.shape[1])
            exact = product.exact(rows, start, similarity.shape[1], query[part[place]], column)
            place = place[exact >= threshold[part[place]]]
            ahead[part] += np.bincount(place, minlength=len(part))
    return ahead


# Unsure thresholds of a query, on average, from which on a block is computed in float64.
MANY = 12
# Similarities that are compared with unsure thresholds at a time: they fit into the cache of a processor.
SCANNED = 2**18


def _negatives(similarity, classes, rows, window, span):
    """The similarities of a block, with -inf for references that are no negatives: they are within `span`."""
    low, high = max(window.start, span.start), min(window.stop, span.stop)
    aside = classes.aside(rows, slice(low, high)) if low < high else np.zeros((1, 1), bool)
    if not aside.any():
        return similarity
    similarity = np.array(similarity)
    inside = similarity[:, low - window.start : high - window.start]
    inside[np.broadcast_to(aside, inside.shape)] = -np.inf
    return similarity


def _at_least(ordered, query, threshold):
    """How many entries of its row, which rise, are at least each threshold `(P, ...)` of the rows `query`, rising."""
    count = np.empty(threshold.shape, np.int64)
    bounds = np.searchsorted(query, np.arange(len(ordered) + 1))
    for row, first, last in zip(ordered, bounds[:-1], bounds[1:], strict=True):
        if first < last:
            count[first:last] = len(row) - row.searchsorted(threshold[first:last])
    return count
