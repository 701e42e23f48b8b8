"""Hierarchical triplet loss."""

import numpy as np
from keras import ops

from keras_epos._checks import integer, number, one_of
from keras_epos.hierarchy import LINKAGES, ClassHierarchy
from keras_epos.losses._batch import class_places
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._triplet import TripletLoss

METRICS = ("squared_euclidean", "euclidean")


@registered()
class HierarchicalTripletLoss(PairLoss):
    """Triplet loss with margins from a class tree: wide between distant classes, narrow between near ones.

    Anchor `a` with positives `p` and negatives `n`, where `s` is the distance negated:

        loss_a = 1/2 sum over (p, n) of max(0, s_an - s_ap + margin_an)
        margin_an = beta + d_H(class of a, class of n) - spread(class of a)
        weight of p = -1/2 (number of active n),  weight of n = 1/2 (number of active p)

    `d_H` is the threshold of the level at which the two classes share a node of the tree, `spread` the mean squared
    distance inside the anchor's class; see `keras_epos.hierarchy.ClassHierarchy`. A margin may be negative, where a
    class is wider than its distance from another. The tree is part of the loss's state, which an `EmbeddingModel` saves
    and restores: `set_hierarchy` replaces it, and `HierarchyRebuild` does that as the embedding changes. **Without a
    tree all margins are `beta`**: the ordinary triplet loss, with which the authors begin.

    Made for `batches`, whose classes are close to each other. All triplets of a batch count, in
    `O(B^2)` memory; with easy positives those of the nearest positive.

    Margins grow with every rebuild, because two classes meet their margin only when they are `beta` farther apart
    than they were when the tree was built. If test recall drops, rebuild less often (`HierarchyRebuild(...,
    every=5)`) or take `linkage="single"`, whose `d_H` are the smallest.

    - Needs: two classes in a batch, and two samples of a class. And a tree, from `HierarchyRebuild`.
    - Choose it when: classes form a hierarchy of likeness; measure it against `TripletLoss`.
    - See also: `keras_epos.hierarchy`, `HierarchyRebuild`.

    Args:
        num_classes: Number of classes in training, at least 2; labels must lie in `[0, num_classes)`.
        beta: Positive part of every margin, a squared distance.
        num_levels: Levels of the tree above the classes, called L in the paper.
        linkage: Distance of merged nodes: `"average"`, `"class_average"`, `"single"` or `"complete"`; see
            `keras_epos.hierarchy.merge`.
        metric: `"squared_euclidean"` (0 to 4 between unit rows, as the margins), or `"euclidean"`, which subtracts
            distances and adds the same margins.
        positives, negatives, average_over, shared: See `PairLoss`.

    Raises:
        ValueError: If an argument is out of range; for labels out of range see `ProxyLoss`.

    Reference: Ge, Huang, Dong and Scott 2018, https://arxiv.org/abs/1810.06951. The paper leaves open how distances to
    merged nodes are computed, and one transcription of it subtracts distances that are not squared.

    Examples:
        >>> model = keras_epos.EmbeddingModel(backbone, embedding_dim=8)
        >>> model.compile("adam", loss=keras_epos.HierarchicalTripletLoss(num_classes=4))
        >>> history = model.fit(images, labels, verbose=0)
    """

    needs_adoption = True
    has_triplets = True

    def __init__(
        self,
        num_classes,
        beta=0.1,
        num_levels=16,
        linkage="average",
        metric="squared_euclidean",
        positives="all",
        negatives="all",
        average_over="valid",
        **shared,
    ):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        number("beta", beta, "(0, inf)", "a positive squared distance")
        one_of("linkage", linkage, sorted(LINKAGES))
        one_of("metric", metric, METRICS)
        if self.same_class != "equal":
            raise ValueError(
                "`same_class` must be 'equal', as each sample is of one class of the tree. "
                f"Received: same_class={self.same_class!r}"
            )
        self.num_classes = integer("num_classes", num_classes, 2)
        self.beta = beta
        self.num_levels = integer("num_levels", num_levels, 1)
        self.linkage = linkage
        self.metric = metric

    def build(self, embedding_dim):
        if embedding_dim is None:
            raise ValueError("`embedding_dim` must be given, as the tree holds class means. Received: None")

        def state(name, shape, dtype):
            return self._layer.add_weight(shape=shape, dtype=dtype, initializer="zeros", trainable=False, name=name)

        # What margins are looked up in: nodes of the levels from 1 on, one level after the other.
        self._nodes = state("nodes", (self.num_levels * self.num_classes,), "int32")
        self._thresholds = state("thresholds", (self.num_levels + 1,), self.dtype)
        self._spread = state("spread", (self.num_classes,), self.dtype)
        # What the tree is made of.
        self._means = state("means", (self.num_classes, embedding_dim), "float32")
        self._counts = state("counts", (self.num_classes,), "int32")

    @property
    def hierarchy(self):
        """The `ClassHierarchy` in use, or `None`."""
        self.refuse_untrained()
        counts = ops.convert_to_numpy(self._counts)
        if not counts.any():
            return None
        means = ops.convert_to_numpy(self._means)
        return ClassHierarchy(means, counts, num_levels=self.num_levels, linkage=self.linkage)

    def set_hierarchy(self, hierarchy):
        """Take the margins from a tree from now on, without compiling anything anew.

        Args:
            hierarchy: `ClassHierarchy` of the classes `0 ... num_classes - 1`, with the `num_levels` and the `linkage`
                of the loss, of embeddings of the model's dimension.

        Raises:
            ValueError: If it is of other classes or another form.
        """
        self.refuse_untrained()
        if not np.array_equal(hierarchy.classes, np.arange(self.num_classes)):
            raise ValueError(
                f"`hierarchy` must have the classes 0 to {self.num_classes - 1}, each with a sample. "
                f"Received: {len(hierarchy)} classes from {hierarchy.classes[0]} to {hierarchy.classes[-1]}"
            )
        form = (self.num_levels, self.linkage, self._means.shape[1])
        if (received := (hierarchy.num_levels, hierarchy.linkage, hierarchy.means.shape[1])) != form:
            raise ValueError(
                f"`hierarchy` must have (num_levels, linkage, dimensions) {form}, as the loss. Received: {received}"
            )
        self._nodes.assign(hierarchy.nodes[1:].reshape(-1))
        self._thresholds.assign(hierarchy.thresholds)
        self._spread.assign(hierarchy.spread)
        self._means.assign(hierarchy.means)
        self._counts.assign(hierarchy.counts)

    def terms(self, labels, embeddings, memory=None):
        if memory is not None:
            raise ValueError(
                "`memory` must be None: margins depend on the classes of the references, which a memory does not tell. "
                "Received: a memory. Take another loss for CrossBatchMemory."
            )
        return super().terms(labels, embeddings)

    def formula(self, positives, negatives, batch):
        # Negatives that are nearer by so much make the margin of every triplet the same.
        nearer = negatives.similarity + negatives.of(self._beyond_beta(batch.labels))
        triplets = TripletLoss(self.beta, self.metric, name=self.name, dtype=self.dtype)
        terms = triplets.formula(positives, negatives._replace(similarity=nearer), batch)
        return terms._replace(total=terms.total / 2)

    def _beyond_beta(self, labels):
        """`d_H - spread` of each anchor and each reference, `(A, A)`."""
        places = class_places(labels, self.num_classes)
        nodes = ops.reshape(ops.convert_to_tensor(self._nodes), (self.num_levels, self.num_classes))
        # Levels are nested, so two classes share a node from the level on whose number is that of those they do not:
        # the lowest, where every class is a node of its own, and some of the others.
        level = ops.cast(places[:, None] != places[None, :], "int32")
        for of_class in ops.unstack(nodes, self.num_levels):
            own = ops.take(of_class, places, axis=0)
            level = level + ops.cast(own[:, None] != own[None, :], "int32")
        apart = ops.take(ops.convert_to_tensor(self._thresholds), level, axis=0)
        spread = ops.take(ops.convert_to_tensor(self._spread), places, axis=0)
        return apart - spread[:, None]
