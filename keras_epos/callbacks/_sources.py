"""Images that callbacks embed: arrays, what is read row by row, or batches of a data set."""

import contextlib

import keras
import numpy as np

from keras_epos._shares import num_devices, predict_in_shares
from keras_epos.callbacks._outputs import embeddings_of


class _Arrays:
    """Images in arrays, or in what is read in blocks such as an h5py data set, with their labels."""

    def __init__(self, images, labels, batch_size):
        self.images, self.labels, self.batch_size = images, labels, int(batch_size)

    def __len__(self):
        return len(self.labels)

    def embed(self, model, output):
        if output is None and all(_suits_predict(part) for part in keras.tree.flatten(self.images)):
            embeddings = predict_in_shares(model.predict, self.images, self.batch_size, verbose=0)
            return embeddings_of(model, embeddings, None), self.labels
        blocks = (self._block(slice(start, start + self.batch_size)) for start in range(0, len(self), self.batch_size))
        return np.concatenate([_embed_batch(model, images, output) for images in blocks]), self.labels

    def first_batch(self):
        return self._block(slice(0, self.batch_size))

    def sample(self, number):
        """Some images from everywhere, as classes often come one after the other."""
        return self._block(slice(0, len(self), max(1, -(-len(self) // number))))

    def _block(self, rows):
        return keras.tree.map_structure(lambda part: _as_batch(_read(part, rows)), self.images)


class _Batches:
    """Images as batches, embedded one by one, so that labels stay with their images whatever the order."""

    def __init__(self, name, batches, labels):
        self.name, self.batches, self.labels = name, batches, labels

    def embed(self, model, output):
        embeddings, labels = [], []
        for batch in self._iterate():
            images, batch_labels = self._split(batch)
            labels.append(batch_labels)
            embeddings.append(_embed_batch(model, images, output))
        if not embeddings:
            raise ValueError(f"`{self.name}` must yield at least one batch. Received: an empty data set.")
        return np.concatenate(embeddings), np.concatenate(labels) if self.labels is None else self.labels

    def first_batch(self):
        for batch in self._iterate():
            return self._split(batch)[0]
        raise ValueError(f"`{self.name}` must yield at least one batch. Received: an empty data set.")

    def sample(self, number):
        return keras.tree.map_structure(lambda part: part[:number], self.first_batch())

    def _iterate(self):
        if isinstance(self.batches, keras.utils.PyDataset):
            return (self.batches[index] for index in range(self.batches.num_batches))
        return iter(self.batches)

    def _split(self, batch):
        """The images of a batch, and its labels if they are not known."""
        images, labels = batch, None
        if self.labels is None:
            images, labels = _pair(batch)
            labels = keras.ops.convert_to_numpy(labels)
        elif isinstance(batch, (tuple, list)) and len(batch) == 1:
            images = batch[0]
        return keras.tree.map_structure(_as_batch, images), labels


class _Rows:
    """A map-style data set `images[i]` as an array that reads the rows asked for. Keras's trees take it for a leaf."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, rows):
        return np.stack([np.asarray(self.images[index]) for index in range(len(self))[rows]])


def source(name, images, labels, batch_size):
    """What embeds `images`. Labels are copied, so that a later change in place does not reach them.

    Raises:
        ValueError: when images and labels do not fit, or batches cannot be gone through in every epoch.
    """
    if isinstance(images, keras.Layer):
        raise ValueError(
            f"`{name}` must be images, or batches of images and labels. Received: a model. A callback gets its model "
            "from `fit`: pass images and labels alone."
        )
    labels = None if labels is None else copied(labels)
    is_structure = isinstance(images, (list, tuple, dict))
    if isinstance(images, keras.utils.PyDataset) or (
        hasattr(images, "__iter__") and not hasattr(images, "shape") and not is_structure
    ):
        _check_batches(name, images)
        return _Batches(name, images, labels)
    if labels is None:
        raise ValueError(f"`labels` must be given when `{name}` are arrays. Received: labels=None.")
    if not is_structure and not hasattr(images, "__getitem__"):
        raise ValueError(
            f"`{name}` must be an array, or batches of images and labels. Received: {type(images).__name__}."
        )
    images = _stacked_or_inputs(images, labels) if isinstance(images, list) else images
    images = keras.tree.map_structure(lambda part: part if hasattr(part, "shape") else _Rows(part), images)
    rows = {len(part) for part in keras.tree.flatten(images)}
    if rows != {len(labels)}:
        raise ValueError(
            f"`labels` must have one entry for each of the `{name}`. Received: {len(labels)} labels for "
            f"{sorted(rows)} {name}."
        )
    return _Arrays(images, labels, batch_size)


def labeled_source(name, pairs, batch_size):
    """What embeds `(images, labels)`, or batches of such pairs."""
    if isinstance(pairs, (tuple, list)):
        if len(pairs) != 2:
            raise ValueError(f"`{name}` must be (images, labels) or a data set. Received: {len(pairs)} parts.")
        return source(name, *pairs, batch_size)
    return source(name, pairs, None, batch_size)


def embed(model, source, output=None):
    """Embeddings `(N, D)` of all images, and their labels."""
    with _without_random_numbers():
        return source.embed(model, output)


def check_first_batch(model, source, output=None):
    """Raise now what the first batch tells: a wrong output, batches without labels, no batch at all."""
    with _without_random_numbers():
        _embed_batch(model, source.first_batch(), output)


def _without_random_numbers():
    """Keeps the order of a shuffled run: on PyTorch every data loader draws from the numbers that shuffle."""
    if keras.backend.backend() != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.random.fork_rng(devices=[])


def _embed_batch(model, images, output):
    return embeddings_of(model, _predict(model, images), output)


def copied(labels):
    """Labels or ids as an array of their own."""
    values = labels if isinstance(labels, (np.ndarray, list, tuple)) else keras.ops.convert_to_numpy(labels)
    return np.array(values)


def _stacked_or_inputs(images, labels):
    """A list of images as one array; or a list of the inputs of a model, as `fit` takes it, as a tuple."""
    if len(images) != len(labels) and {getattr(part, "shape", (None,))[:1] for part in images} == {(len(labels),)}:
        return tuple(images)
    return np.asarray(images)


def _suits_predict(part):
    """Whether `predict` takes an array as it is: it copies a memory map whole, and refuses NumPy's strings."""
    return type(part) is np.ndarray and part.dtype.kind not in "USO"


def _as_batch(part):
    """Strings in NumPy as a tensor, which is what `predict_on_batch` takes."""
    if isinstance(part, np.ndarray) and part.dtype.kind in "USO" and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.convert_to_tensor(part)
    return part


def _read(part, rows):
    # What is no array yet, such as an h5py data set, becomes one here, a block at a time.
    block = part[rows]
    return block if keras.ops.is_tensor(block) else np.asarray(block)


def _check_batches(name, batches):
    """Turns away a data set that would never end, and an iterator that would end after one epoch."""
    if isinstance(batches, keras.utils.PyDataset):
        try:
            number = batches.num_batches
        except NotImplementedError:
            number = None
        if number is None:
            raise ValueError(
                f"`{name}` must be finite. Received: {type(batches).__name__}, a PyDataset without length. Define its "
                "`__len__`, the number of batches."
            )
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


def _predict(model, images):
    strategy = getattr(model, "distribute_strategy", None)
    if (strategy is not None and strategy.num_replicas_in_sync > 1) or num_devices() > 1:
        # `predict_on_batch` hands the whole batch to every replica and returns each row once a replica.
        rows = len(keras.tree.flatten(images)[0])
        return predict_in_shares(model.predict, images, rows, verbose=0)
    return model.predict_on_batch(images)
