"""Which samples stand in which batch, where batches are random classes with their nearest ones."""

import threading

import numpy as np

from keras_epos._checks import integer
from keras_epos.data.batch_indices import BatchIndices, integer_labels


class AnchorNeighbourIndices(BatchIndices):
    """Indices of batches of a few random classes, each with the classes nearest to it, and K samples of each.

    So the negatives of a batch are hard, and two classes that look alike are told apart side by side. Which classes are
    near is what a `ClassHierarchy` says; **without one all classes are random**. As with `BatchIndices` a batch is a
    pure function of the labels, the seed, the step, and the tree. Every batch draws its classes anew; the samples of a
    class are walked through in a shuffled order that changes as steps go by.

    A class that would stand in a batch twice stands there once, and the neighbourhood that it falls out of goes on with
    the next nearest class: all batches have one shape.

    Args:
        labels: Integers `(N,)` or `(N, 1)`.
        anchors_per_batch: Random classes of a batch, called l' in the paper.
        classes_per_anchor: How many classes stand together, the random one among them, called m.
        samples_per_class: K, called t. With 2 easy, hard and all positives are the same thing.
        small_classes: Policy for classes of fewer than K samples, see `balanced_batches`.
        seed: Integer.
        hierarchy: `ClassHierarchy` of all these labels, or `None`; see `set_hierarchy`.

    Raises:
        ValueError: If the labels are no integers, an argument is out of range, or there are fewer than
            `anchors_per_batch * classes_per_anchor` classes, the `classes_per_batch`.

    Reference: Ge, Huang, Dong and Scott 2018, https://arxiv.org/abs/1810.06951. The paper's values of l', m and t are
    not known to us.
    """

    # Of the stream of `BatchIndices`: each batch has an order of the classes of its own.
    steps_per_epoch = 1

    def __init__(
        self,
        labels,
        anchors_per_batch=4,
        classes_per_anchor=4,
        samples_per_class=4,
        *,
        small_classes="skip",
        seed=0,
        hierarchy=None,
    ):
        anchors_per_batch = integer("anchors_per_batch", anchors_per_batch, least=1)
        classes_per_anchor = integer("classes_per_anchor", classes_per_anchor, least=1)
        self.labels = integer_labels(labels)
        if self.labels.ndim != 1:
            raise ValueError(
                "`labels` must be one class for each sample, shape (N,). "
                f"Received: labels of shape {self.labels.shape}."
            )
        classes_per_batch = anchors_per_batch * classes_per_anchor
        super().__init__(self.labels, classes_per_batch, samples_per_class, small_classes=small_classes, seed=seed)
        self.anchors_per_batch = anchors_per_batch
        self.classes_per_anchor = classes_per_anchor
        self._neighbours = None
        self._unchanged = threading.Lock()
        self.set_hierarchy(hierarchy)

    def set_hierarchy(self, hierarchy):
        """Take the neighbours from another tree from now on, or none at all.

        Batches that are drawn already stay as they are. A data set draws ahead inside a pass, never beyond its end, so
        between two passes is the time for it.

        Args:
            hierarchy: `ClassHierarchy` with a class for every label, or `None` for random classes.

        Raises:
            ValueError: If a label is not among its classes.
        """
        neighbours = None
        if hierarchy is not None:
            names = self.labels[self._members[self._starts]]
            # As many as can be taken by others, and the own ones.
            neighbours = hierarchy.nearest(self.classes_per_batch - 1, among=names)
        with self._unchanged:
            self._neighbours = neighbours

    def __call__(self, steps):
        with self._unchanged:
            return super().__call__(steps)

    def _classes(self, steps):
        """Return the class numbers of the batches, int64 `(T, P)`; neighbours stand side by side."""
        classes = super()._classes(steps)
        if self._neighbours is None:
            return classes
        return np.array([self._with_neighbours(row[: self.anchors_per_batch].tolist()) for row in classes])

    def _with_neighbours(self, anchors):
        taken, batch = set(anchors), []
        for anchor in anchors:
            near = [other for other in self._neighbours[anchor].tolist() if other not in taken]
            near = near[: self.classes_per_anchor - 1]
            taken.update(near)
            batch += [anchor, *near]
        return batch
