"""Images that callbacks embed: arrays, or batches of a data set."""

import keras
import numpy as np


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


def source(name, images, labels, batch_size):
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


def gallery_source(gallery, batch_size):
    if isinstance(gallery, (tuple, list)):
        if len(gallery) != 2:
            raise ValueError(f"`gallery` must be (images, labels) or a data set. Received: {len(gallery)} parts.")
        return source("gallery", *gallery, batch_size)
    return source("gallery", gallery, None, batch_size)


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


def embed(model, source):
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


def check_positive_integer(name, value):
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
