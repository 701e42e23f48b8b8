"""ClassHierarchy: the tree of the classes of an embedding."""

import functools

import numpy as np

from keras_epos._checks import integer, one_of
from keras_epos._rows import members_of
from keras_epos.hierarchy._distances import class_means, nearest_classes, spread_within, squared_distances
from keras_epos.hierarchy._merging import LINKAGES, merge

LARGEST_DISTANCE = 4.0


class ClassHierarchy:
    """A tree over classes: near ones share a node at a low level, far ones only at a high one.

    With `d(p, q)` the mean squared distance between the samples of two classes and `s_c` that inside a class, from 0 to
    4, nodes merge bottom-up by `d`, and level `l` of `L` has those merged that are nearer than

        d_l = d_0 + l (4 - d_0) / L,    d_0 the mean of s_c over the classes of two and more samples.

    Everything follows from the class means; merging needs one `C x C` matrix of 8-byte floats for a moment (1 GB at
    11,318 classes), the rest `C x D`.

    Args:
        means: Mean of the unit vectors of each class, `(C, D)`, not divided by its norm. Kept as float32.
        counts: Number of samples of each class, integers of at least 1, `(C,)`.
        classes: The labels of the classes, distinct integers in ascending order `(C,)`; by default `0 ... C - 1`.
        num_levels: `L`, at least 1.
        linkage: Distance of merged nodes, see `merge`: `"average"` (over samples), `"class_average"`, `"single"` or
            `"complete"`.

    Attributes:
        spread: `s_c`, float64 `(C,)`; 0 for a class of a single sample.
        thresholds: `d_l`, float64 `(L + 1,)`.
        merges: `(C - 1, 4)`, in SciPy's form, see `merge`.
        nodes: The node of each class at each level, int32 `(L + 1, C)`.

    Raises:
        ValueError: If shapes do not fit or an argument is out of range.

    Reference: Ge, Huang, Dong and Scott 2018, "Deep Metric Learning with Hierarchical Triplet Loss",
    https://arxiv.org/abs/1810.06951. It leaves the linkage open; `"average"` follows from its definition of `d`.
    """

    def __init__(self, means, counts, classes=None, num_levels=16, linkage="average"):
        self.means = np.asarray(means, np.float32)
        self.counts = np.asarray(counts)
        self.classes = np.arange(len(self.means)) if classes is None else np.asarray(classes)
        integer("num_levels", num_levels, 1)
        one_of("linkage", linkage, sorted(LINKAGES))
        if self.means.ndim != 2 or not np.isfinite(self.means).all() or not len(self.means):
            raise ValueError(f"`means` must be finite, of shape (C, D). Received: means of shape {self.means.shape}.")
        if self.counts.shape != (len(self.means),) or self.counts.dtype.kind not in "iu" or (self.counts < 1).any():
            raise ValueError(
                f"`counts` must be {len(self.means)} integers of at least 1. Received: counts={self.counts}."
            )
        is_ascending = self.classes.dtype.kind in "iu" and (self.classes[1:] > self.classes[:-1]).all()
        if self.classes.shape != (len(self.means),) or not is_ascending:
            raise ValueError(
                f"`classes` must be {len(self.means)} integers in ascending order. Received: classes={self.classes}."
            )
        self.num_levels = int(num_levels)
        self.linkage = linkage
        self.spread = spread_within(self.means, self.counts)
        has_pairs = self.counts > 1
        self.thresholds = thresholds(self.spread[has_pairs].mean() if has_pairs.any() else 0.0, self.num_levels)

    @classmethod
    def from_embeddings(cls, embeddings, labels, num_levels=16, linkage="average"):
        """The tree of embeddings `(N, D)`, of any length, with integer labels `(N,)`; see the class."""
        classes, counts, means = class_means(embeddings, labels)
        return cls(means, counts, classes, num_levels, linkage)

    @functools.cached_property
    def merges(self):
        return merge(squared_distances(self.means), self.counts, self.linkage)

    @functools.cached_property
    def nodes(self):
        return nodes_at_levels(self.merges, self.thresholds)

    def __len__(self):
        return len(self.classes)

    def level(self, first, second):
        """The lowest level at which two classes share a node: 0 for a class and itself.

        Args:
            first, second: Labels, integers of any shapes that broadcast.

        Raises:
            ValueError: If there is no such class.
        """
        first, second = np.broadcast_arrays(self._place(first), self._place(second))
        return np.sum(self.nodes[:, first] != self.nodes[:, second], axis=0)

    def distance(self, first, second):
        """`d_H`: the threshold of the level at which two classes, labels as in `level`, first share a node."""
        return self.thresholds[self.level(first, second)]

    def margin(self, anchor, negative, beta=0.1):
        """`alpha = beta + d_H - s`, with `s` the spread of the anchor's class; labels as in `level`."""
        return beta + self.distance(anchor, negative) - self.spread[self._place(anchor)]

    def neighbors(self, label, count=8):
        """The labels of the `count` classes nearest to one by `d`, or as many as there are, nearest first: integers."""
        integer("count", count, 0)
        place = self._place(label)
        distances = squared_distances(self.means[place : place + 1], self.means)[0]
        distances[place] = np.inf
        return self.classes[np.argsort(distances, kind="stable")[: min(count, len(self) - 1)]]

    def nearest(self, count, among=None):
        """Positions of the `count` nearest others of each class, int64 `(C', count)`, nearest first.

        Args:
            count: Less than the number of classes.
            among: Labels of the classes that count, `(C',)`, and that positions refer to; by default all.
        """
        return nearest_classes(self.means if among is None else self.means[self._place(among)], count)

    def groups(self, level):
        """The classes of each node at a level, from 0 to `num_levels`: a list of arrays of labels, largest first."""
        integer("level", level, 0, self.num_levels)
        places = np.unique(self.nodes[level], return_inverse=True)[1].reshape(-1)
        parts = [self.classes[members] for members in members_of(places)]
        return sorted(parts, key=lambda part: (-len(part), part[0]))

    def save(self, path):
        """Write the tree to a `.npz` file."""
        np.savez(
            path,
            means=self.means,
            counts=self.counts,
            classes=self.classes,
            num_levels=self.num_levels,
            linkage=self.linkage,
        )

    @classmethod
    def load(cls, path):
        """Read what `save` wrote."""
        with np.load(path) as kept:
            parts = {name: kept[name] for name in ("means", "counts", "classes")}
            return cls(**parts, num_levels=int(kept["num_levels"]), linkage=str(kept["linkage"]))

    def __str__(self):
        lines = [
            f"{len(self)} classes of {self.counts.sum()} samples, {self.linkage} linkage. Squared distances:",
            "level  nearer than  nodes  largest",
        ]
        for level, threshold in enumerate(self.thresholds):
            groups = self.groups(level)
            lines.append(f"{level:5}  {threshold:11.3f}  {len(groups):5}  {len(groups[0]):7}")
            if len(groups) == 1:
                break
        return "\n".join(lines)

    def _place(self, labels):
        """Positions of labels in `classes`."""
        labels = np.asarray(labels)
        places = np.minimum(np.searchsorted(self.classes, labels), len(self) - 1)
        unknown = labels[self.classes[places] != labels]
        if unknown.size:
            raise ValueError(f"`labels` must be classes of the hierarchy. Received: {unknown.flat[0]}.")
        return places


def thresholds(mean_spread, num_levels):
    """`d_l = d_0 + l (4 - d_0) / L`, for `l = 0 ... L`: float64 `(L + 1,)`.

    Args:
        mean_spread: `d_0`, the mean squared distance inside a class, from 0 to 4.
        num_levels: `L`, at least 1.
    """
    return mean_spread + np.arange(num_levels + 1) * ((LARGEST_DISTANCE - mean_spread) / num_levels)


def nodes_at_levels(merges, thresholds):
    """The node of each class at each level, int32 `(L + 1, C)`.

    At level 0 every class is a node of its own. At level `l` nodes nearer than threshold `l` are one, and at the last
    level all are. Levels are nested: classes that share a node share one at all levels above.

    Args:
        merges: `(C - 1, 4)`, see `merge`. Nodes are numbered as there.
        thresholds: `(L + 1,)`, ascending.
    """
    size = len(merges) + 1
    parent = np.arange(2 * size - 1)
    reached_at = np.full(2 * size - 1, np.inf)
    for row, (first, second) in enumerate(merges[:, :2].astype(int)):
        parent[[first, second]] = size + row
        reached_at[[first, second]] = merges[row, 2]
    levels = [np.arange(size)]
    for threshold in thresholds[1:-1]:
        levels.append(_top(np.where(reached_at < threshold, parent, np.arange(2 * size - 1)))[:size])
    levels.append(np.full(size, 2 * size - 2))
    return np.stack(levels).astype(np.int32)


def _top(parent):
    """The last node on the way up from each."""
    while not np.array_equal(above := parent[parent], parent):
        parent = above
    return parent
