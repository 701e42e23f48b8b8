"""From encoded photographs to arrays: one evaluation path, and cheap augmentation.

TensorFlow ops on the TensorFlow backend, Pillow and NumPy on the others.
"""

import os
from multiprocessing.pool import ThreadPool

import keras
import numpy as np

from keras_epos.data import _pillow_images as pillow_images
from keras_epos.data import _tensorflow_images as tensorflow_images
from keras_epos.data._inputs import StoredRows, as_arrays, as_text, describe_input, is_encoded, read_rows, takes_seed
from keras_epos.data._recovery import map_or_recover
from keras_epos.data._tf_batches import without_tuning

# Beyond any camera in common use, and about 1 GB while such a picture is decoded and resized.
MAX_PIXELS = 2**26


def decode_and_resize(contents, size, *, channels=3, max_pixels=MAX_PIXELS):
    """Decode one image and resize it: THE evaluation path, in training, validation and serving alike.

    The whole picture is squeezed into `size` (no crop), bilinear with antialiasing. On the TensorFlow backend these
    are TensorFlow ops only, so that they can stand in a SavedModel.

    JPEG, PNG, GIF (the first frame), BMP without palette and WebP without animation are taken; TIFF, PPM, HEIC, AVIF
    and JPEG XL are not. What the EXIF orientation says is done, so that pictures from a phone stand upright. An alpha
    channel is dropped: what was transparent shows the color stored beneath, and black in a GIF. Gray becomes RGB.

    Args:
        contents: Scalar string tensor, or bytes: an encoded image.
        size: Side in pixels, or `(height, width)`.
        channels: 3 for RGB, 1 for gray (weights 0.299, 0.587, 0.114).
        max_pixels: Largest height x width. It is read in the header, before anything is decoded: a file of 80 KB can
            stand for gigabytes.

    Returns:
        float32 tensor (a NumPy array on JAX and PyTorch) `(height, width, channels)`, in 0..255.

    Raises:
        ValueError, `tf.errors.InvalidArgumentError` on TensorFlow: for what cannot be decoded.
    """
    engine = _engine()
    return engine.resize(engine.decode(contents, channels, max_pixels), size)


def image_loader(size, *, augment=None, layers=(), max_pixels=MAX_PIXELS):
    """A `load` for `balanced_batches` and `tf.data` that makes one image of a path.

    Args:
        size: Side in pixels, or `(height, width)`.
        augment: None, the evaluation path; or 'crop_flip', which is `[random_crop(),
            random_flip()]`; or a list of functions `f(image, seed)` or `f(image)` on the decoded
            uint8 `(h, w, 3)`, before the resizing: TensorFlow ops on the TensorFlow backend, NumPy on the others.
        layers: Keras augmentation layers for the resized image, float32 0..255, run with
            `training=True`. Their random numbers are their own, so unlike `augment` they do not
            follow the seed of `balanced_batches`. Layers are faster on whole batches: `.map(lambda
            x, y: (layer(x), y))`.
        max_pixels: Largest height x width, see `decode_and_resize`.

    Returns:
        Function `(path, seed=None)`: the path of a file, or the contents of an image themselves, see
        `decode_and_resize` for the formats. A scalar string tensor on TensorFlow, str, bytes or a `pathlib.Path` on
        JAX and PyTorch. It gives a float32 tensor, a NumPy array there, `(height, width, 3)`, RGB in 0..255.
    """
    steps = _augmentations(augment)

    def load(path, seed=None):
        engine = _engine()
        image = engine.decode(engine.read(path), 3, max_pixels)
        if steps and seed is None:
            seed = engine.new_seed()
        for number, step in enumerate(steps):
            image = step(image, seed=engine.fold_seed(seed, number)) if takes_seed(step) else step(image)
        image = engine.resize(image, size)
        for layer in layers:
            image = engine.run_layer(layer, image)
        return image

    return load


def random_crop(scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3)):
    """An augmentation that cuts out a random box: a "random resized crop" before resizing.

    Args:
        scale: Smallest and largest area of the box, as a share of the picture.
        ratio: Smallest and largest width / height of the box.
    """
    return lambda image, seed: _engine().crop(image, seed, scale, ratio)


def random_flip():
    """An augmentation that mirrors left and right, half of the time."""
    return lambda image, seed: _engine().flip(image, seed)


def image_batches(paths, size, batch_size=64, *, labels=None, load=None):
    """Yield the images of `paths` in order, for `model.predict`, `RecallAtK` and galleries.

    Args:
        paths: N file paths, or encoded images, such as those of `datasets.shard_folder`; or a uint8 array
            `(N, height, width, channels)` when `load` takes arrays.
        size: Side in pixels, or `(height, width)`.
        batch_size: Images in a batch; the last one may be smaller.
        labels: None, or N labels to go with the images.
        load: Another function than `image_loader(size)`.

    Returns:
        `tf.data.Dataset` of float32 `(batch, height, width, 3)`, or of `(images, labels)`; on JAX and PyTorch a
        `keras.utils.PyDataset` of NumPy arrays. An image that cannot be read raises `ValueError`,
        `tf.errors.InvalidArgumentError` on TensorFlow, with its name, for a gap would shift the order; `unreadable`
        lists all such images beforehand.
    """
    inputs = as_arrays(paths, len(paths) if labels is None else len(labels))
    is_text = inputs.dtype.kind in "OS"
    if load is None and not is_text:
        raise ValueError(pillow_images.not_a_path(f"{inputs.dtype} of shape {inputs.shape}"))
    load = load or image_loader(size)
    rows = [_texts(inputs) if is_text else inputs]
    rows += [] if labels is None else [np.asarray(labels)]

    def load_one(path, *label):
        return (load(path), *label) if label else load(path)

    def load_row(index):
        try:
            return load_one(*(row[index] for row in rows))
        except Exception as error:
            name = f"input number {index}" if isinstance(inputs, StoredRows) else describe_input(inputs[index], index)
            raise ValueError(
                f"`paths` must be readable images. Received: {name}, which gives {type(error).__name__}: {error} "
                "`keras_epos.data.unreadable(paths)` finds all such files, to leave out with their labels."
            ) from error

    return _in_order(rows, batch_size, load_one, load_row)


def image_batches_with_gaps(paths, size, batch_size=64):
    """As `image_batches`, of `(images, places)`: the place of each in `paths`; black and -1 for what is unreadable."""
    paths = _texts(as_arrays(paths, len(paths)))
    load, black = image_loader(size), np.zeros((*np.broadcast_to(size, 2), 3), np.float32)

    def load_one(path, place):
        return load(path), place

    def load_row(index):
        try:
            return load_one(paths[index], np.int64(index))
        except Exception:
            return black, np.int64(-1)

    return _in_order([paths, np.arange(len(paths))], batch_size, load_one, load_row)


def _in_order(rows, batch_size, load_one, load_row):
    """Batches of what `load_one` makes of an entry of each of `rows`, or `load_row` of its index where that fails."""
    if _engine() is pillow_images:
        return _NumpyBatches(len(rows[0]), batch_size, load_row)
    import tensorflow as tf

    in_memory = tuple(rows[1:] if isinstance(rows[0], StoredRows) else rows)
    batches = tf.data.Dataset.from_tensor_slices((in_memory, (np.arange(len(rows[0])),))).batch(batch_size)
    if isinstance(rows[0], StoredRows):
        dtype = tf.string if rows[0].dtype == object else rows[0].dtype

        def with_stored(others, keys):
            stored = tf.numpy_function(lambda places: read_rows(rows[0], places), keys, dtype)
            return (tf.ensure_shape(stored, (None, *rows[0].shape[1:])), *others), keys

        batches = batches.map(with_stored)
    dataset = map_or_recover(batches, load_one, load_row)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(-(-len(rows[0]) // batch_size)))
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(without_tuning())


def unreadable(paths, *, max_pixels=MAX_PIXELS):
    """Find the images that cannot be decoded, by decoding all of them, in parallel.

        bad = keras_epos.data.unreadable(test.inputs)
        inputs, labels = np.delete(test.inputs, list(bad)), np.delete(test.labels, list(bad))

    Args:
        paths: N file paths, or encoded images.
        max_pixels: Largest height x width, see `decode_and_resize`.

    Returns:
        dict: The place in `paths` of each unreadable image, in order, and why it cannot be read.
    """
    inputs = as_arrays(paths, len(paths))

    def reason(place):
        try:
            contents = _engine().read(as_text(inputs[place]))
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return fault_of(contents, max_pixels)

    with ThreadPool(_threads()) as pool:
        reasons = pool.map(reason, range(len(inputs)))
    return {index: found for index, found in enumerate(reasons) if found}


def fault_of(contents, max_pixels=MAX_PIXELS):
    """Why these bytes cannot be decoded, or `None`."""
    try:
        _engine().decode(contents, 3, max_pixels)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


class _NumpyBatches(keras.utils.PyDataset):
    """Batches in order of what `load_row(index)` gives, loaded by Keras in several threads."""

    def __init__(self, num_rows, batch_size, load_row):
        super().__init__(workers=_threads())
        self._num_rows, self._batch_size, self._load_row = num_rows, batch_size, load_row

    def __len__(self):
        return -(-self._num_rows // self._batch_size)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"There are {len(self)} batches. Received: index={index}.")
        first = index * self._batch_size
        rows = [self._load_row(row) for row in range(first, min(first + self._batch_size, self._num_rows))]
        if isinstance(rows[0], tuple):
            return tuple(np.stack(column) for column in zip(*rows, strict=True))
        return np.stack(rows)


def _texts(inputs):
    """Paths as str for Python and bytes for TensorFlow; encoded images, and what is not in memory, as they are."""
    if isinstance(inputs, StoredRows):
        return inputs
    if _engine() is tensorflow_images:
        return inputs.tolist()
    return [text if is_encoded(text) else os.fsdecode(text) for text in inputs]


def _threads():
    return min(8, os.cpu_count() or 1)


def _engine():
    return tensorflow_images if keras.backend.backend() == "tensorflow" else pillow_images


def _augmentations(augment):
    if augment is None:
        return []
    if augment == "crop_flip":
        return [random_crop(), random_flip()]
    if isinstance(augment, str) or not hasattr(augment, "__iter__"):
        raise ValueError(
            f"`augment` must be None, 'crop_flip' or a list of functions of an image. Received: augment={augment!r}."
        )
    return list(augment)
