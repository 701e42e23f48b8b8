"""What is compared, queries and gallery, and which references are of the class of which queries.

Two answers to the same questions: `windows`, `block` and `pairs`; for whole lists `span`, `grades` and `aside`. Where
a class is what has an equal label, both sides are sorted by label and most of the answer is known without looking. Any
other relation of labels is a function, asked block by block.
"""

import functools
import math

import numpy as np
from keras import ops

from keras_epos import same_class as relations
from keras_epos._rows import CHUNK, Rows, blocks, codes, to_numpy
from keras_epos.retrieval._checks import (
    check_label_rows,
    check_one_label_per_id,
    check_relevance,
    check_result,
    check_same_dim,
)

# References in one window, at least, where labels are sorted, and exactly where any may be of any class.
_FEW, _MANY = 64, 4096


def sides(embeddings, gallery_embeddings, ids, gallery_ids):
    """Checked queries and gallery with their ids, and no labels yet. Without a gallery both are the same object."""
    queries = Rows(embeddings)
    if gallery_embeddings is None:
        if len(queries) < 2:
            raise ValueError("`embeddings` must have two rows or more without a gallery. Received: 1 row.")
        queries.ids = np.arange(len(queries)) if ids is None else codes(("ids", ids, len(queries)))[0]
        return queries, queries
    gallery = Rows(gallery_embeddings, name="gallery_embeddings")
    check_same_dim(queries, gallery)
    if ids is None or gallery_ids is None:
        # No reference is a query; numbers that differ say so.
        queries.ids, gallery.ids = np.arange(len(queries)), -1 - np.arange(len(gallery))
    else:
        queries.ids, gallery.ids = codes(("ids", ids, len(queries)), ("gallery_ids", gallery_ids, len(gallery)))
    return queries, gallery


def relate(same_class, queries, gallery, labels, gallery_labels, relevance=None):
    """The classes by `same_class`, which hold both sides as they are compared: with labels, perhaps sorted by them.

    Raises:
        ValueError: for labels that do not fit `same_class`, or one id with two labels.
    """
    if relevance is not None:
        sides_of = [("labels", labels, queries), ("gallery_labels", gallery_labels, gallery)]
        for name, values, side in sides_of[: 1 if gallery is queries else 2]:
            (side.labels,) = check_label_rows([(name, values, len(side))], multi_hot=False)
        return Graded(queries, gallery, relevance)
    function = relations.get(same_class)
    arguments = [("labels", labels, len(queries))]
    if gallery is not queries:
        arguments.append(("gallery_labels", gallery_labels, len(gallery)))
    if function is relations.equal:
        values = codes(*arguments)
    else:
        values = check_label_rows(arguments, multi_hot=function is relations.share_a_label)
    queries.labels, gallery.labels = values[0], values[-1]
    check_one_label_per_id(queries, gallery)
    return EqualLabels(queries, gallery) if function is relations.equal else RelatedLabels(queries, gallery, function)


class EqualLabels:
    """A class is what has the same integer as label. Both sides are sorted by it, so that a class is one slice."""

    def __init__(self, queries, gallery):
        self.queries = queries.sorted_by_label()
        self.gallery = self.queries if gallery is queries else gallery.sorted_by_label()

    def windows(self):
        """Yields `(rows, window)`: queries, and the slice of the gallery that holds all references of their class."""
        labels, references = self.queries.labels, self.gallery.labels
        starts = np.flatnonzero(np.diff(references, prepend=references[0] - 1))
        # Small classes share a window, for a window costs more than a few similarities too many.
        chosen = np.unique(np.searchsorted(starts, np.arange(0, len(references), _FEW)))
        lows = starts[chosen[chosen < len(starts)]]
        highs = np.append(lows[1:], len(references))
        first = np.searchsorted(labels, references[lows], "left")
        last = np.searchsorted(labels, references[highs - 1], "right")
        for start, stop, low, high in zip(first, last, lows, highs, strict=True):
            if start < stop:
                yield np.arange(start, stop), slice(low, high)

    def block(self, rows, window):
        """Booleans that broadcast to `(Q, M)`: which of `window`, a slice, are of the class of `rows`, rising."""
        labels, references = self.queries.labels, self.gallery.labels[window]
        lowest, highest = labels[rows[0]], labels[rows[-1]]
        if highest < references[0] or references[-1] < lowest:
            return np.zeros((1, 1), bool)
        if lowest == references[-1] and highest == references[0]:
            return np.ones((1, 1), bool)
        return labels[rows, None] == references[None, :]

    def pairs(self, rows, indices):
        """Booleans `(Q, M)`: which of the references `indices`, `(Q, M)` or `(1, M)`, are of the class of `rows`."""
        return self.queries.labels[rows, None] == self.gallery.labels[indices]

    def span(self, rows):
        """The slice of the gallery that holds all references of the classes of `rows`, rising."""
        lowest, highest = self.queries.labels[rows[[0, -1]]]
        references = self.gallery.labels
        return slice(int(np.searchsorted(references, lowest)), int(np.searchsorted(references, highest, "right")))

    def most_positives(self):
        """A number of positives that no query exceeds."""
        return int(np.bincount(self.gallery.labels).max())

    def totals(self):
        """How many pairs are of different classes, and how many of the same class and not the same item: `(2,)`."""
        of_class = occurrences(self.queries.labels, self.gallery.labels).sum()
        of_item = occurrences(self.queries.ids, self.gallery.ids).sum()
        return np.array([len(self.queries) * len(self.gallery) - of_class, of_class - of_item])

    def grades(self, rows, window):
        """How relevant the references of `window`, a slice, are to `rows`: numbers `(Q, M)`, above 0 for positives."""
        return self.block(rows, window) & (self.queries.ids[rows, None] != self.gallery.ids[None, window])

    def aside(self, rows, window):
        """Booleans that broadcast to `(Q, M)`: which references are no negatives. An item has its own label."""
        return self.block(rows, window)


class RelatedLabels:
    """A class is what `function` says of labels of any shape."""

    def __init__(self, queries, gallery, function):
        self.queries, self.gallery, self._function = queries, gallery, function

    def windows(self):
        """Yields `(rows, window)`: all queries with each part of the gallery."""
        for start in range(0, len(self.gallery), _MANY):
            yield np.arange(len(self.queries)), slice(start, min(start + _MANY, len(self.gallery)))

    def block(self, rows, window):
        """Booleans `(Q, M)`: which of the references `window`, a slice or an array, are of the class of `rows`."""
        labels, references = self.queries.labels[rows], self.gallery.labels[window]
        same = ops.convert_to_numpy(self._function(labels, references))
        check_result(same, (len(labels), len(references)))
        return same.astype(bool)

    def span(self, rows):
        """All of the gallery."""
        return slice(0, len(self.gallery))

    def most_positives(self):
        """A number of positives that no query exceeds."""
        return len(self.gallery)

    def grades(self, rows, window):
        """How relevant the references of `window`, a slice, are to `rows`: numbers `(Q, M)`, above 0 for positives."""
        return self.block(rows, window) & ~self._itself(rows, window)

    def aside(self, rows, window):
        """Booleans `(Q, M)`: which references are no negatives."""
        return self.block(rows, window) | self._itself(rows, window)

    def _itself(self, rows, window):
        return self.queries.ids[rows, None] == self.gallery.ids[None, window]

    def pairs(self, rows, indices):
        """Booleans `(Q, M)`: which of the references `indices`, `(Q, M)` or `(1, M)`, are of the class of `rows`."""
        if len(indices) == 1:
            return self.block(rows, indices[0])
        same = np.empty(indices.shape, bool)
        # The function answers for every query with every reference of its part, so parts are kept small.
        size = max(1, CHUNK // len(self.gallery), math.isqrt(CHUNK // indices.shape[1]))
        for part in blocks(np.arange(len(rows)), size):
            window, place = slice(None), indices[part]
            if place.size < len(self.gallery):
                window, place = np.unique(place, return_inverse=True)
                # References again up to a power of two, for some backends compile anew for each shape.
                window = np.resize(window, 1 << (len(window) - 1).bit_length())
            same[part] = np.take_along_axis(self.block(rows[part], window), place.reshape(len(part), -1), axis=1)
        return same


class Graded(RelatedLabels):
    """How relevant a reference is, is what `relevance` says: a matrix, or a function of labels of any shape."""

    def __init__(self, queries, gallery, relevance):
        shape = (len(queries), len(gallery))
        if not callable(relevance):
            matrix = check_relevance(to_numpy(relevance), shape)
            queries.labels, gallery.labels = (np.arange(size) for size in shape)
            relevance = functools.partial(_entries, matrix)
        super().__init__(queries, gallery, relevance)

    def block(self, rows, window):
        return self._numbers(rows, window) > 0

    def grades(self, rows, window):
        return np.where(self._itself(rows, window), 0, self._numbers(rows, window))

    def aside(self, rows, window):
        return (self._numbers(rows, window) != 0) | self._itself(rows, window)

    def _numbers(self, rows, window):
        labels, references = self.queries.labels[rows], self.gallery.labels[window]
        return check_relevance(ops.convert_to_numpy(self._function(labels, references)), (len(labels), len(references)))


def occurrences(values, among):
    """How often each of `values` occurs in `among`."""
    among = np.sort(among)
    return np.searchsorted(among, values, "right") - np.searchsorted(among, values, "left")


def _entries(matrix, rows, columns):
    return matrix[np.ix_(rows, columns)]
