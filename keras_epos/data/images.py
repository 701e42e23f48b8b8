"""From encoded photographs to arrays: one evaluation path, and cheap augmentation."""

from keras_epos.data.inputs import as_arrays, describe_input, takes_seed
from keras_epos.data.recovery import map_or_recover


def decode_and_resize(contents, size):
    """Decode one image and resize it: THE evaluation path, in validation and serving alike.

    The whole picture is squeezed into `size` (no crop), bilinear with antialiasing. TensorFlow ops
    only, so that it can stand in a SavedModel.

    Args:
        contents: scalar string tensor, an encoded JPEG, PNG, BMP or GIF (its first frame).
        size: side in pixels, or `(height, width)`.

    Returns:
        float32 tensor `(height, width, 3)`, RGB in 0..255; grey and transparent images become RGB.
    """
    return _resize(_decode(contents), size)


def load_image(size, *, augment=None, layers=()):
    """Return a `load` for `balanced_batches` and `tf.data` that makes one image of a path.

    Args:
        size: side in pixels, or `(height, width)`.
        augment: None, the evaluation path; or 'crop_flip', which is `[random_crop(),
            random_flip()]`; or a list of functions `f(image, seed)` or `f(image)` on the decoded
            uint8 `(h, w, 3)`, before the resizing.
        layers: Keras augmentation layers for the resized image, float32 0..255, run with
            `training=True`. Their random numbers are their own, so unlike `augment` they do not
            follow the seed of `balanced_batches`. Layers are faster on whole batches: `.map(lambda
            x, y: (layer(x), y))`.

    Returns:
        Function `(path, seed=None)` of a scalar string tensor: the path of a file, or the contents
        of a JPEG or PNG themselves. It gives a float32 tensor `(height, width, 3)`, RGB in 0..255.
    """
    steps = _augmentations(augment)

    def load(path, seed=None):
        import tensorflow as tf

        image = _decode(_read(path))
        if steps and seed is None:
            seed = tf.random.uniform((2,), maxval=tf.int32.max, dtype=tf.int32)
        for number, step in enumerate(steps):
            if takes_seed(step):
                image = step(image, seed=tf.random.experimental.stateless_fold_in(seed, number))
            else:
                image = step(image)
        image = _resize(image, size)
        for layer in layers:
            image = tf.ensure_shape(layer(image, training=True), image.shape)
        return image

    return load


def random_crop(scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3)):
    """Return an augmentation that cuts out a random box: a "random resized crop" before resizing.

    Args:
        scale: smallest and largest area of the box, as a share of the picture.
        ratio: smallest and largest width / height of the box.
    """

    def crop(image, seed):
        import tensorflow as tf

        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.shape(image),
            tf.zeros((1, 0, 4)),
            seed=seed,
            min_object_covered=0.0,
            area_range=scale,
            aspect_ratio_range=ratio,
            use_image_if_no_bounding_boxes=True,
        )
        return tf.ensure_shape(tf.slice(image, begin, extent), (None, None, 3))

    return crop


def random_flip():
    """Return an augmentation that mirrors left and right, half of the time."""

    def flip(image, seed):
        import tensorflow as tf

        return tf.image.stateless_random_flip_left_right(image, seed=seed)

    return flip


def image_batches(paths, size, batch_size=64, *, labels=None, load=None):
    """Yield the images of `paths` in order, for `model.predict`, `RecallAtK` and galleries.

    Args:
        paths: N file paths, or a uint8 array `(N, height, width, channels)` when `load` takes
            arrays.
        size: side in pixels, or `(height, width)`.
        batch_size: images in a batch; the last one may be smaller.
        labels: None, or N labels to go with the images.
        load: another function than `load_image(size)`.

    Returns:
        `tf.data.Dataset` of float32 `(batch, height, width, 3)`, or of `(images, labels)`. An image
        that cannot be read raises `tf.errors.InvalidArgumentError` with its name, for a gap would
        shift the order.
    """
    import numpy as np
    import tensorflow as tf

    load = load or load_image(size)
    inputs = as_arrays(paths, len(paths) if labels is None else len(labels))
    rows = [inputs.tolist() if inputs.dtype.kind in "OS" else inputs]
    rows += [] if labels is None else [np.asarray(labels)]

    def load_one(path, *label):
        return (load(path), *label) if label else load(path)

    def recover(index):
        try:
            return load_one(*(row[index] for row in rows))
        except Exception as error:
            name = describe_input(rows[0][index], index)
            raise ValueError(
                f"`paths` must be readable images. Received: {name}, which gives {type(error).__name__}: {error}"
            ) from error

    elements = tf.data.Dataset.from_tensor_slices(tuple(rows))
    keys = tf.data.Dataset.range(len(inputs)).map(lambda index: (index,))
    dataset = map_or_recover(tf.data.Dataset.zip(elements, keys), load_one, recover)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(inputs)))
    return dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _read(path):
    """Return the contents of the file, or `path` itself where it is an encoded image already."""
    import tensorflow as tf

    # The first byte of a JPEG (0xFF) or PNG (0x89) cannot begin a path in UTF-8.
    start = tf.strings.substr(path, 0, 4)
    is_jpeg = tf.equal(tf.strings.substr(start, 0, 2), b"\xff\xd8")
    is_image = tf.logical_or(is_jpeg, tf.equal(start, b"\x89PNG"))
    return tf.cond(is_image, lambda: path, lambda: tf.io.read_file(path))


def _decode(contents):
    import tensorflow as tf

    image = tf.io.decode_image(contents, channels=3, expand_animations=False)
    return tf.ensure_shape(image, (None, None, 3))


def _resize(image, size):
    import tensorflow as tf

    height, width = (size, size) if isinstance(size, int) else size
    return tf.image.resize(image, (height, width), antialias=True)


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
