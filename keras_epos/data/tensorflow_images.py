"""Photographs by TensorFlow ops, for tf.data and for SavedModels. `pillow_images` has the same functions in NumPy."""

from keras_epos.data import image_headers
from keras_epos.data.pillow_images import not_a_path


def read(element):
    """Return the contents of the file that `element` names, or `element` itself where it is an encoded image."""
    import tensorflow as tf

    element = tf.convert_to_tensor(element)
    if element.dtype != tf.string:
        raise ValueError(not_a_path(f"{element.dtype.name} of shape {element.shape}"))
    start = tf.strings.substr(element, 0, 32)
    # No path has a zero byte, or begins as a JPEG or PNG does; the head of every image has a zero byte.
    has_zero = tf.reduce_any(tf.equal(tf.io.decode_raw(start, tf.uint8), 0))
    is_jpeg = tf.equal(tf.strings.substr(start, 0, 2), b"\xff\xd8")
    is_png = tf.equal(tf.strings.substr(start, 0, 4), b"\x89PNG")
    return tf.cond(has_zero | is_jpeg | is_png, lambda: element, lambda: tf.io.read_file(element))


def decode(contents, channels, max_pixels):
    """Return the uint8 tensor `(height, width, channels)` of an encoded image, turned upright."""
    import tensorflow as tf

    # Autograph has nothing to convert here, and takes seconds to find out.
    return tf.autograph.experimental.do_not_convert(_decode)(contents, channels, max_pixels)


def _decode(contents, channels, max_pixels):
    import tensorflow as tf

    header = image_headers.read_header(tf.convert_to_tensor(contents))
    too_large = f"An image must have at most max_pixels={max_pixels} pixels. Received: height, width ="
    checks = _require(tf.equal(header.fault, ""), header.fault)
    checks += _require(header.height * header.width <= max_pixels, too_large, header.height, header.width)
    with tf.control_dependencies(checks):
        contents = tf.identity(header.contents)
    is_other = tf.not_equal(header.kind, image_headers.BMP) & tf.not_equal(header.kind, image_headers.WEBP)
    image = tf.cond(
        is_other,
        lambda: tf.io.decode_image(contents, channels=3, expand_animations=False),
        # These take their own number of channels only: 1 is a BMP of indices, 4 a WebP with alpha.
        lambda: _without_alpha(contents, tf.io.decode_image(contents, channels=0, expand_animations=False)),
    )
    image = _upright(tf.ensure_shape(image, (None, None, 3)), header.orientation)
    return _grey(image) if channels == 1 else image


def _require(condition, *message):
    """Raise what `message` says, at once or as an op."""
    import tensorflow as tf

    if not tf.executing_eagerly():
        return [tf.debugging.Assert(condition, list(message))]
    if not condition:
        raise ValueError(" ".join(tf.strings.as_string(part).numpy().decode() for part in message))
    return []


def _without_alpha(contents, image):
    import tensorflow as tf

    colors = tf.gather(image_headers.bmp_palette(contents), tf.cast(image[..., 0], tf.int32))
    return tf.where(tf.equal(tf.shape(image)[-1], 1), colors, image[..., :3])


def _upright(image, orientation):
    import tensorflow as tf

    def turn():
        turned = tf.transpose(image, tf.where(orientation >= 5, [1, 0, 2], [0, 1, 2]))
        down, right = (
            tf.where(tf.reduce_any(tf.equal(orientation, values)), -1, 1) for values in ([3, 4, 7, 8], [2, 3, 6, 7])
        )
        return tf.ensure_shape(turned[::down, ::right], (None, None, 3))

    return tf.cond(tf.equal(orientation, 1), lambda: image, turn)


def _grey(image):
    import tensorflow as tf

    # In integers, so that grey stays what it is.
    weighted = tf.tensordot(tf.cast(image, tf.int32), tf.constant([19595, 38470, 7471]), 1)
    return tf.cast(tf.bitwise.right_shift(weighted + 32768, 16), tf.uint8)[..., tf.newaxis]


def resize(image, size):
    """Return the image as float32 `(height, width, channels)`, bilinear with antialiasing."""
    import tensorflow as tf

    height, width = (size, size) if isinstance(size, int) else size
    return tf.image.resize(image, (height, width), antialias=True)


def new_seed():
    """Return two integers that follow `keras.utils.set_random_seed`."""
    import tensorflow as tf

    return tf.random.uniform((2,), maxval=tf.int32.max, dtype=tf.int32)


def fold_seed(seed, number):
    """Return the seed of step `number` under `seed`."""
    import tensorflow as tf

    return tf.random.experimental.stateless_fold_in(seed, number)


def crop(image, seed, scale, ratio):
    """Cut out a random box."""
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


def flip(image, seed):
    """Mirror left and right, half of the time."""
    import tensorflow as tf

    return tf.image.stateless_random_flip_left_right(image, seed=seed)


def run_layer(layer, image):
    """Apply a Keras layer in training mode."""
    import tensorflow as tf

    return tf.ensure_shape(layer(image, training=True), image.shape)
