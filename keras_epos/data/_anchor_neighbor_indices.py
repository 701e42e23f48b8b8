"""Which samples stand in which batch, where batches are random classes with their nearest ones."""

import numpy as np

from keras_epos._checks import integer
from keras_epos.data._batch_indices import BatchIndices, check_steps
from keras_epos.data._own_lock import OwnLock


class AnchorNeighborIndices:
    """Indices of batches of a few random classes, each with the classes nearest to it, and K samples of each.

    So the negatives of a batch are hard, and two classes that look alike are told apart side by side. Which classes are
    near is what a `ClassHierarchy` says; **without one all classes are random**. As with `BatchIndices` a batch is a
    pure function of the labels, the seed, the step, and the tree. Every batch draws its classes anew; the samples of a
    class are walked through in a shuffled order that changes as steps go by.

    A class that would stand in a batch twice stands there once, and the neighborhood that it falls out of goes on with
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
        if np.ndim(labels) > 1 and np.shape(labels)[1:] != (1,):
            raise ValueError(
                f"`labels` must be one class for each sample, shape (N,). Received: labels of shape {np.shape(labels)}."
            )
        self._balanced = BatchIndices(
            labels, anchors_per_batch * classes_per_anchor, samples_per_class, small_classes=small_classes, seed=seed
        )
        self.labels, self.seed = self._balanced.labels, self._balanced.seed
        self.batch_size = self._balanced.batch_size
        self.classes_per_batch, self.samples_per_class = self._balanced.classes_per_batch, samples_per_class
        self.num_classes, self.num_samples = self._balanced.num_classes, self._balanced.num_samples
        self.anchors_per_batch = anchors_per_batch
        self.classes_per_anchor = classes_per_anchor
        self._neighbors = None
        self._unchanged = OwnLock()
        self.set_hierarchy(hierarchy)

    def set_hierarchy(self, hierarchy):
        """Take the neighbors from another tree from now on, or none at all.

        Batches that are drawn already stay as they are, and so do worker processes of grain. A data set draws ahead
        inside a pass, never beyond its end, so between two passes is the time for it.

        Args:
            hierarchy: `ClassHierarchy` with a class for every label, or `None` for random classes.

        Raises:
            ValueError: If a label is not among its classes.
        """
        neighbors = None
        if hierarchy is not None:
            # As many as can be taken by others, and the own ones.
            neighbors = hierarchy.nearest(self.classes_per_batch - 1, among=self._balanced.class_names)
        with self._unchanged:
            self._neighbors = neighbors

    def __call__(self, steps):
        """The sample indices of one or several batches, see `BatchIndices`; neighbors stand side by side."""
        check_steps(steps)
        numbers = np.atleast_1d(steps)
        with self._unchanged:
            indices = self._balanced.samples(self._classes(numbers), numbers)
        return indices.reshape((*np.shape(steps), self.batch_size))

    def spares(self, step, row):
        """All samples of the class at `row` of a batch, int64 `(n,)`, shuffled."""
        place = row // self.samples_per_class
        return self._balanced.samples_of_class(self._classes(np.array([step]))[0, place], step, place)

    def load_seeds(self, steps):
        """A seed for each sample drawn, int32 `(T, batch_size, 2)`."""
        return self._balanced.load_seeds(steps)

    def _classes(self, steps):
        """The class numbers of batches, int64 `(T, P)`."""
        # Each batch has an order of the classes of its own: it is the first one of an epoch.
        classes = self._balanced.classes(steps * self._balanced.steps_per_epoch)
        if self._neighbors is None:
            return classes
        return np.array([self._with_neighbors(row[: self.anchors_per_batch].tolist()) for row in classes])

    def _with_neighbors(self, anchors):
        taken, batch = set(anchors), []
        for anchor in anchors:
            near = [other for other in self._neighbors[anchor].tolist() if other not in taken]
            near = near[: self.classes_per_anchor - 1]
            taken.update(near)
            batch += [anchor, *near]
        return batch
