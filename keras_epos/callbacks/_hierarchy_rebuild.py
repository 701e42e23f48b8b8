"""HierarchyRebuild: keeps the class tree of a run up to date."""

import keras
import numpy as np

from keras_epos._checks import integer
from keras_epos._config import KnownArguments
from keras_epos.callbacks._outputs import check_output
from keras_epos.callbacks._sources import check_first_batch, embed, source
from keras_epos.hierarchy import ClassHierarchy, class_means
from keras_epos.hierarchy._distances import integer_labels


class HierarchyRebuild(KnownArguments, keras.callbacks.Callback):
    """Builds the class tree anew from current embeddings before an epoch, for the loss and for the batches.

        indices = keras_epos.data.AnchorNeighborIndices(labels, 4, 4, 4)
        model.compile("adam", loss=keras_epos.HierarchicalTripletLoss(num_classes=98))
        model.fit(
            keras_epos.data.batches(images, indices),
            epochs=20,
            callbacks=[keras_epos.HierarchyRebuild(images, labels, indices=indices)],
        )

    Every `HierarchicalTripletLoss` of the model takes its margins from the tree, in a sum of losses too, and `indices`
    their neighbors. Nothing is compiled anew. It happens before the first batch of the epoch, so what a checkpoint
    keeps at its end is the tree that the epoch had; a run that goes on from there starts with that tree. Without
    such a loss `Resume` alone keeps the tree; a run that goes on otherwise builds it when it starts.

    Args:
        images: The training images, or as many as will do for a mean of each class: an array `(N, ...)`, or finite
            batches; see `RecallAtK`.
        labels: Integers `(N,)`; `None` when the batches bring them.
        indices: `keras_epos.data.AnchorNeighborIndices` of the batches, or `None`.
        every: Epochs from one tree to the next.
        warm_up_epochs: Epochs without a tree, in which margins are `beta` and classes random: the paper begins with
            the ordinary triplet loss.
        output: Which output of the model is the embedding, when it has several; see `RecallAtK`.
        batch_size: Images embedded at once, when they come as arrays.

    Attributes:
        hierarchy: The `ClassHierarchy` in use, or `None`.
        history: A dictionary for each tree built: `"epoch"` (from 0), `"mean_spread"`, the mean squared distance inside
            a class, and `"nodes"`, the number of nodes at each level.

    Raises:
        ValueError: For arguments out of range; and in training, when neither the loss nor `indices` takes a tree, or
            the images lack a class.
    """

    # What `Resume` keeps.
    run_state = ("history", "_tree")

    def __init__(self, images, labels=None, *, indices=None, every=1, warm_up_epochs=0, output=None, batch_size=128):
        super().__init__()
        integer("every", every, 1)
        integer("batch_size", batch_size, 1)
        check_output(output)
        integer("warm_up_epochs", warm_up_epochs, 0)
        self.indices = indices
        self.output = output
        self.every = every
        self.warm_up_epochs = warm_up_epochs
        self.hierarchy = None
        self.history = []
        self._source = source("images", images, labels, batch_size)
        if self._source.labels is not None:
            integer_labels(self._source.labels)

    def on_train_begin(self, logs=None):
        losses = self._losses()
        if not losses and self.indices is None:
            raise ValueError(
                "`indices` must be given to a model without a HierarchicalTripletLoss. Received: indices=None."
            )
        if losses:
            # That of a loaded model, until the next one is due; or none, whatever an earlier run left in `indices`.
            self._use(losses[0].hierarchy)
        check_first_batch(self.model, self._source, self.output)
        if self._source.labels is not None:
            self._check_classes(losses)

    def on_epoch_begin(self, epoch, logs=None):
        since = epoch - self.warm_up_epochs
        if since >= 0 and (since % self.every == 0 or self.hierarchy is None):
            self.rebuild(epoch)

    def rebuild(self, epoch=None):
        """Build the tree from the embeddings of the model now, and hand it to loss and batches."""
        classes, counts, means = class_means(*embed(self.model, self._source, self.output))
        losses = self._losses()
        forms = [(loss.num_levels, loss.linkage) for loss in losses] or [()]
        hierarchies = [ClassHierarchy(means, counts, classes, *form) for form in forms]
        for loss, hierarchy in zip(losses, hierarchies, strict=False):
            loss.set_hierarchy(hierarchy)
        self._use(hierarchies[0])
        levels = range(self.hierarchy.num_levels + 1)
        self.history.append(
            {
                "epoch": epoch,
                "mean_spread": float(self.hierarchy.thresholds[0]),
                "nodes": [len(np.unique(self.hierarchy.nodes[level])) for level in levels],
            }
        )

    def _check_classes(self, losses):
        """Refuse now what the loss would refuse after the epochs of the warm-up."""
        classes = np.unique(self._source.labels)
        for loss in losses:
            if not np.array_equal(classes, np.arange(loss.num_classes)):
                raise ValueError(
                    f"`labels` must have the classes 0 to {loss.num_classes - 1} of the loss, each with a sample. "
                    f"Received: {len(classes)} classes from {classes[0]} to {classes[-1]}."
                )

    @property
    def _tree(self):
        return self.hierarchy and {
            name: getattr(self.hierarchy, name) for name in ("means", "counts", "classes", "num_levels", "linkage")
        }

    @_tree.setter
    def _tree(self, parts):
        self._use(parts and ClassHierarchy(**parts))

    def _use(self, hierarchy):
        self.hierarchy = hierarchy
        if self.indices is not None:
            self.indices.set_hierarchy(hierarchy)

    def _losses(self):
        """The losses of the model that take a tree."""
        parts = keras.tree.flatten(getattr(self.model, "loss", None))
        parts += [inner for part in parts for inner in getattr(part, "losses", {}).values()]
        return [part for part in parts if hasattr(part, "set_hierarchy")]
