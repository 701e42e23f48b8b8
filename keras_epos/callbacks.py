"""Callbacks that watch retrieval while a model trains."""

import sys
import warnings

import keras
import numpy as np

from keras_epos import retrieval
from keras_epos import same_class as relations


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
        for name, value in (("every", every), ("batch_size", batch_size)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
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
        self._queries = _source("images", images, labels, batch_size)
        self._references = None if gallery is None else _gallery_source(gallery, batch_size)

    def evaluate(self, model):
        """What `keras_epos.retrieval.evaluate` returns for the embeddings of `model`."""
        embeddings, labels = _embed(model, self._queries)
        gallery_embeddings, gallery_labels = None, None
        if self._references is not None:
            gallery_embeddings, gallery_labels = _embed(model, self._references)
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
        _check_neighbours(self, self._names())
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


# -- Where the images come from ----------------------------------------------------------------------------------------


class _Arrays:
    """Images as arrays, embedded by `model.predict`."""

    def __init__(self, images, labels, batch_size):
        self.images, self.labels, self.batch_size = images, labels, batch_size

    def embed(self, model):
        return model.predict(self.images, batch_size=self.batch_size, verbose=0), self.labels


class _Batches:
    """Images as batches, embedded one by one, so that labels stay with their images whatever the order."""

    def __init__(self, batches, labels):
        self.batches, self.labels = batches, labels

    def embed(self, model):
        embeddings, labels = [], []
        for batch in self._iterate():
            images = batch
            if self.labels is None:
                images, batch_labels = _pair(batch)
                labels.append(keras.ops.convert_to_numpy(batch_labels))
            elif isinstance(batch, (tuple, list)) and len(batch) == 1:
                images = batch[0]
            embeddings.append(_predict(model, images))
        if not embeddings:
            raise ValueError("`images` must yield at least one batch. Received: an empty data set.")
        return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *embeddings), (
            np.concatenate(labels) if self.labels is None else self.labels
        )

    def _iterate(self):
        if isinstance(self.batches, keras.utils.PyDataset):
            return (self.batches[index] for index in range(len(self.batches)))
        return iter(self.batches)


def _source(name, images, labels, batch_size):
    if isinstance(images, keras.utils.PyDataset) or (
        hasattr(images, "__iter__") and not hasattr(images, "shape") and not isinstance(images, (list, tuple, dict))
    ):
        _check_batches(name, images)
        return _Batches(images, labels)
    if labels is None:
        raise ValueError(f"`labels` must be given when `{name}` are arrays. Received: labels=None.")
    images = np.asarray(images) if isinstance(images, list) else images
    rows = {len(part) for part in keras.tree.flatten(images)}
    if rows != {len(labels)}:
        raise ValueError(
            f"`labels` must have one entry for each of the `{name}`. Received: {len(labels)} labels for "
            f"{sorted(rows)} {name}."
        )
    return _Arrays(images, labels, batch_size)


def _gallery_source(gallery, batch_size):
    if isinstance(gallery, (tuple, list)):
        if len(gallery) != 2:
            raise ValueError(f"`gallery` must be (images, labels) or a data set. Received: {len(gallery)} parts.")
        return _source("gallery", *gallery, batch_size)
    return _source("gallery", gallery, None, batch_size)


def _check_batches(name, batches):
    """Turns away a `tf.data.Dataset` that would never end, and an iterator that would end after one epoch."""
    if hasattr(batches, "cardinality") and int(batches.cardinality()) == -1:
        raise ValueError(f"`{name}` must be finite. Received: a data set without end. Remove its `repeat()`.")
    if hasattr(batches, "__next__"):
        raise ValueError(
            f"`{name}` must give its batches again in every epoch. Received: {type(batches).__name__}, which gives "
            "them once. Pass a data set, or a list of batches joined into arrays."
        )


def _pair(batch):
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        raise ValueError(
            "`labels` must be given when the batches hold images alone. Received: labels=None and batches of "
            f"{type(batch).__name__}."
        )
    return batch[0], batch[1]


# -- Embeddings --------------------------------------------------------------------------------------------------------


def _embed(model, source):
    embeddings, labels = source.embed(model)
    shape = getattr(embeddings, "shape", None)
    if shape is None or len(shape) != 2:
        raise ValueError(
            "`model` must return one embedding (batch, dim). Received: outputs "
            f"{keras.tree.map_structure(np.shape, embeddings)}. Add a pooling or dense layer, or pass a model with a "
            "single output."
        )
    return embeddings, labels


def _predict(model, images):
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is not None and strategy.num_replicas_in_sync > 1:
        # `predict_on_batch` hands the whole batch to every replica and returns each row once a replica.
        rows = len(keras.tree.flatten(images)[0])
        return model.predict(images, batch_size=rows, verbose=0)
    return model.predict_on_batch(images)


# -- The other callbacks -----------------------------------------------------------------------------------------------


def _check_neighbours(callback, names):
    """Warns of callbacks that need what `callback` writes, yet stand before it or take less for better."""
    others = _callbacks_around(callback)
    for place, other in enumerate(others):
        monitors = getattr(other, "monitor", None) in names
        if other is callback or not (monitors or isinstance(other, _recorders())):
            continue
        kind = type(other).__name__
        if place < others.index(callback):
            seen = f'monitor="{other.monitor}"' if monitors else "the logs"
            warnings.warn(
                f"{kind} stands before RecallAtK in `callbacks` and so reads {seen} before the value is there. Put "
                f"RecallAtK first: callbacks=[RecallAtK(...), {kind}(...)].",
                stacklevel=2,
            )
        if monitors and getattr(other, "mode", "max") != "max":
            warnings.warn(
                f'{kind} has mode="{other.mode}", but more is better for monitor="{other.monitor}". Pass mode="max".',
                stacklevel=2,
            )


def _recorders():
    return (keras.callbacks.CSVLogger, keras.callbacks.TensorBoard)


def _callbacks_around(callback):
    """The list of callbacks that `callback` stands in, or an empty one when nothing known is calling.

    Keras tells a callback neither its neighbours nor its place, but the `CallbackList` is the caller.
    """
    frame = sys._getframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, keras.callbacks.CallbackList) and callback in caller.callbacks:
            return caller.callbacks
        frame = frame.f_back
    return []
