"""What a search with a threshold comes to, for queries whose class is in the gallery and for those whose is not."""

from typing import NamedTuple

import numpy as np

from keras_epos._rows import blocks
from keras_epos.retrieval._cuts import RIGHT, UNKNOWN, WRONG
from keras_epos.retrieval._nearest import top
from keras_epos.retrieval._neighbors import best_positives
from keras_epos.retrieval._product import TIE, Product


class Searches(NamedTuple):
    """Queries as they were compared, with the nearest reference of three kinds. A similarity of none is -inf.

    Attributes:
        labels: Class of each query, int `(N,)`.
        own: Similarity to the nearest reference of its own class, float64 `(N,)`.
        other: Similarity to the nearest reference of another class.
        matched: That other class: what the query is taken for if its own class is not in the gallery.
        third: Similarity to the nearest reference of any class but these two.
        third_matched: That third class.
        is_unknown: Whether the query counts, or counts also, as one whose class is not in the gallery, bool `(N,)`.
    """

    labels: np.ndarray
    own: np.ndarray
    other: np.ndarray
    matched: np.ndarray
    third: np.ndarray
    third_matched: np.ndarray
    is_unknown: np.ndarray

    @property
    def is_known(self):
        """Whether the gallery has a reference of the query's class."""
        return self.own > -np.inf

    @property
    def is_right(self):
        """Whether the nearest reference is of the query's class; ties count against it."""
        return self.own - TIE > self.other

    def ends(self):
        """How each search ends without a threshold, those of unknown queries first.

        Returns:
            `(similarity, kind, found)`: to the nearest reference, float64 `(S,)`; `UNKNOWN`, `RIGHT` or `WRONG`; and
            the class of that reference. A query that is both known and unknown has two.
        """
        unknown, known = np.flatnonzero(self.is_unknown), np.flatnonzero(self.is_known)
        right = self.is_right[known]
        return (
            np.concatenate([self.other[unknown], np.where(right, self.own[known], self.other[known])]),
            np.concatenate([np.full(len(unknown), UNKNOWN), np.where(right, RIGHT, WRONG)]),
            np.concatenate([self.matched[unknown], np.where(right, self.labels[known], self.matched[known])]),
        )

    def without_matched(self):
        """The same searches, had each gallery not held the class `matched`."""
        return self._replace(other=self.third, matched=self.third_matched)

    def accepted(self, thresholds):
        """Which searches end with an accepted match: bool `(N,)` of three kinds, for the threshold of each class.

        Returns:
            `(false_accepts, right, wrong)`: unknown queries that are accepted, known ones that are accepted with
            their class, and known ones that are accepted with another.
        """
        as_another = self.other >= thresholds[self.matched]
        right = self.is_known & self.is_right & (self.own >= thresholds[self.labels])
        return self.is_unknown & as_another, right, self.is_known & ~self.is_right & as_another


def search(classes, block_size, has_gallery):
    """Searches all queries of `classes`, of equal labels. Without a gallery each query is known and unknown in turn."""
    queries, gallery = classes.queries, classes.gallery
    own, num_positives = best_positives(classes)
    sizes = np.sort(np.bincount(gallery.labels))
    product = Product(queries, gallery, block_size)
    other, matched = _nearest_beside(product, [queries.labels], sizes[-1])
    third, third_matched = other, matched
    if not has_gallery:
        third, third_matched = _nearest_beside(product, [queries.labels, matched], sizes[-2:].sum())
    # A unit row with itself is 1 but for rounding.
    own, other, third = (np.where(part > -np.inf, np.clip(part, -1, 1), part) for part in (own, other, third))
    is_unknown = num_positives == 0 if has_gallery else np.ones(len(queries), bool)
    return Searches(queries.labels, own, other, matched, third, third_matched, is_unknown)


def _nearest_beside(product, left_out, num_excluded):
    """Similarity and class of the nearest reference of each query that is of none of its classes `left_out`."""
    references = product.gallery.labels

    def key(rows, indices, similarity):
        found = references[indices]
        for labels in left_out:
            similarity = np.where(found == labels[rows, None], -np.inf, similarity)
        return similarity

    similarity = np.empty(len(product.queries))
    found = np.empty(len(product.queries), np.int64)
    for rows in blocks(np.arange(len(product.queries)), product.block_size):
        keys, indices = top(product, rows, 1, int(num_excluded), key)
        similarity[rows], found[rows] = keys[:, 0], references[indices[:, 0]]
    return similarity, found
