"""Recall@K and its kin after every epoch."""

import warnings

import keras
import numpy as np

from keras_epos import retrieval
from keras_epos import same_class as relations
from keras_epos.callbacks.neighbours import check_neighbours
from keras_epos.callbacks.sources import check_positive_integer, embed, gallery_source, source


class RecallAtK(keras.callbacks.Callback):
    """Measures retrieval at the end of an epoch and writes `val_recall@1` and its kin into the logs.

    So `History`, the progress line, and every callback that stands AFTER this one see them:

        callbacks=[
            keras_epos.RecallAtK(test_images, test_labels),
            keras.callbacks.ModelCheckpoint("best.keras", monitor="val_recall@1", mode="max", save_best_only=True),
        ]

    Keras cannot guess that more is better, so such callbacks need `mode="max"`. A warning at the start of training
    tells of a wrong order or mode.

    Args:
        images: What the model takes, as an array `(N, ...)` or a structure of such arrays; or finite batches: a
            `tf.data.Dataset`, `keras.utils.PyDataset` or iterable of `(images, labels)`, or of images alone when
            `labels` are given (then it must not shuffle).
        labels: Integers or strings `(N,)`, or what `same_class` takes; `None` when the batches bring them.
        k: Ranks of Recall@K.
        gallery: `(images, labels)` or batches of such pairs, in which `images` are searched. By default each image is
            searched among all others.
        metrics: Some of `"recall"`, `"map@r"`, `"r_precision"`; see `keras_epos.retrieval.evaluate`.
        ids: Passed on to `keras_epos.retrieval.evaluate`, for several images of one item. `(N,)`
        same_class: `"equal"`, `"share_a_label"` for labels that are rows of zeros and ones `(N, L)`, or a function of
            the labels; see `keras_epos.retrieval.evaluate`.
        batch_size: Images embedded at once, when they come as arrays.
        prefix: Put before the names in the logs.
        every: Epochs from one measurement to the next. The first and the last epoch of a `fit` are always measured,
            and an epoch between repeats the last values, so that a monitor never finds none.
        on_train_begin: Also measure before the first epoch, into `initial`.

    Attributes:
        history: A dictionary for each measurement: `"epoch"` (from 0), and what `retrieval.evaluate` returns.
        initial: The values before training, or `None`.

    Raises:
        ValueError: when images and labels do not fit; and in training, when the model does not return one vector
            `(B, D)` an image or its embeddings are not finite.
    """

    def __init__(
        self,
        images,
        labels=None,
        k=(1, 2, 4, 8),
        *,
        gallery=None,
        metrics=retrieval.METRICS,
        ids=None,
        same_class="equal",
        batch_size=128,
        prefix="val_",
        every=1,
        on_train_begin=False,
    ):
        super().__init__()
        check_positive_integer("every", every)
        check_positive_integer("batch_size", batch_size)
        if gallery is not None and ids is not None:
            raise ValueError("`ids` must be None with a gallery, which has no ids to compare them with.")
        self.images, self.labels, self.gallery, self.ids = images, labels, gallery, ids
        relations.get(same_class)  # Turns away what is no relation now, not after an epoch.
        self.same_class = same_class
        self.k = (k,) if np.isscalar(k) else tuple(k)
        self.metrics = (metrics,) if isinstance(metrics, str) else tuple(metrics)
        self.batch_size = batch_size
        self.prefix = prefix
        self.every = every
        self.history = []
        self.initial = None
        self._measure_at_start = on_train_begin
        self._logs = None
        self._queries = source("images", images, labels, batch_size)
        self._references = None if gallery is None else gallery_source(gallery, batch_size)

    def evaluate(self, model):
        """What `keras_epos.retrieval.evaluate` returns for the embeddings of `model`."""
        embeddings, labels = embed(model, self._queries)
        gallery_embeddings, gallery_labels = None, None
        if self._references is not None:
            gallery_embeddings, gallery_labels = embed(model, self._references)
        return retrieval.evaluate(
            embeddings,
            labels,
            gallery_embeddings,
            gallery_labels,
            k=self.k,
            metrics=self.metrics,
            ids=self.ids,
            same_class=self.same_class,
        )

    def on_train_begin(self, logs=None):
        self._logs = None
        check_neighbours(self, self._names())
        if self._measure_at_start:
            self.initial = self.evaluate(self.model)

    def on_epoch_end(self, epoch, logs=None):
        is_last = epoch + 1 == (self.params or {}).get("epochs")
        if self._logs is None or is_last or (epoch + 1) % self.every == 0:
            results = self.evaluate(self.model)
            if results["queries_without_match"] and not self.history:
                warnings.warn(
                    f"RecallAtK: {results['queries_without_match']} images have no other image of their class to be "
                    "found; they are left out of the means.",
                    stacklevel=2,
                )
            self.history.append({"epoch": epoch, **results})
            self._logs = {self.prefix + name: results[name] for name in results if name != "queries_without_match"}
        if logs is not None:
            logs.update(self._logs)

    def _names(self):
        """The names this callback writes into the logs."""
        recalls = [f"recall@{rank}" for rank in self.k] if "recall" in self.metrics else []
        return {self.prefix + name for name in [*recalls, *self.metrics] if name != "recall"}
