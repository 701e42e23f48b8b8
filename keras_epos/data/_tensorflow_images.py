"""Photographs by TensorFlow ops, for tf.data and for SavedModels. `pillow_images` has the same functions in NumPy."""

import functools

from keras_epos.data import _image_headers as image_headers
from keras_epos.data._pillow_images import not_a_path

# Bytes. To read the header of a larger file takes a small part of the time that its decoding takes.
SMALL_FILE = 2**18


def read(element):
    """The contents of the file that `element` names, or `element` itself where it is an encoded image."""
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
    """The uint8 tensor `(height, width, channels)` of an encoded image, turned upright."""
    import tensorflow as tf

    contents = tf.convert_to_tensor(contents)
    if tf.executing_eagerly():
        image = _decode(contents, max_pixels)
    else:
        # Autograph has nothing to convert here, and takes seconds to find out.
        image = tf.autograph.experimental.do_not_convert(_decode_in_graph)(contents, max_pixels)
    return _gray(image) if channels == 1 else image


def _decode_in_graph(contents, max_pixels):
    """The same as `_decode`, but the hundreds of small ops that read a header run only where they are needed.

    A small JPEG or PNG without EXIF data stands upright, and two ops tell its size.
    """
    import tensorflow as tf

    def begins(text):
        return tf.equal(tf.strings.substr(contents, 0, len(text)), text)

    def ordinary():
        size = tf.cond(is_jpeg, lambda: tf.cast(tf.io.extract_jpeg_shape(contents)[:2], tf.int64), size_of_png)
        height, width = size[0], size[1]
        require = tf.raw_ops.Assert(
            condition=height * width <= max_pixels, data=[_too_large(max_pixels), height, width]
        )
        with tf.control_dependencies([require]):
            image = tf.io.decode_image(contents, channels=3, expand_animations=False)
        return tf.ensure_shape(image, (None, None, 3))

    def size_of_png():
        width_height = tf.io.decode_raw(tf.strings.substr(contents, 16, 8), tf.int32, little_endian=False)
        return tf.cast(width_height[::-1], tf.int64)

    # In a pattern `\C` is any byte; another one from 128 would stand for its two bytes in UTF-8.
    is_jpeg = begins(b"\xff\xd8\xff")
    is_png = begins(b"\x89") & tf.strings.regex_full_match(contents, r"\CPNG\r\n\x1a\n\C{4}IHDR\C{8}\C*")
    has_exif = tf.strings.regex_full_match(contents, r"\C*(Exif\x00\x00|eXIf)\C*")
    is_ordinary = (is_jpeg | is_png) & ~has_exif & (tf.strings.length(contents) <= SMALL_FILE)
    return tf.cond(is_ordinary, ordinary, lambda: _decode(contents, max_pixels))


def _too_large(max_pixels):
    return f"An image must have at most max_pixels={max_pixels} pixels. Received: height, width ="


def _decode(contents, max_pixels):
    import tensorflow as tf

    header = image_headers.read_header(contents)
    checks = _require(tf.equal(header.fault, ""), header.fault)
    checks += _require(header.height * header.width <= max_pixels, _too_large(max_pixels), header.height, header.width)
    with tf.control_dependencies(checks):
        contents = tf.identity(header.contents)
    # A BMP and a WebP take their own number of channels only: 1 is a BMP of indices, 4 a WebP with alpha.
    own_channels = tf.equal(header.kind, image_headers.BMP) | tf.equal(header.kind, image_headers.WEBP)
    image = tf.cond(
        own_channels,
        lambda: tf.io.decode_image(contents, channels=0, expand_animations=False),
        lambda: tf.io.decode_image(contents, channels=3, expand_animations=False),
    )
    return _finish()(contents, tf.ensure_shape(image, (None, None, None)), own_channels, header.orientation)


def _require(condition, *message):
    """Raise what `message` says, at once or as an op."""
    import tensorflow as tf

    if not tf.executing_eagerly():
        return [tf.raw_ops.Assert(condition=condition, data=list(message))]
    if not condition:
        raise ValueError(" ".join(tf.strings.as_string(part).numpy().decode() for part in message))
    return []


@functools.cache
def _finish():
    """From what the decoder returns to three colors, upright; apart from the graph around it, as `read_header` is."""
    import tensorflow as tf

    def finish(contents, image, own_channels, orientation):
        image = tf.cond(own_channels, lambda: _without_alpha(contents, image), lambda: image)
        return _upright(tf.ensure_shape(image, (None, None, 3)), orientation)

    signature = [
        tf.TensorSpec((), tf.string),
        tf.TensorSpec((None, None, None), tf.uint8),
        tf.TensorSpec((), tf.bool),
        tf.TensorSpec((), tf.int64),
    ]
    return tf.function(finish, input_signature=signature, autograph=False, experimental_attributes={"_noinline": True})


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


def _gray(image):
    import tensorflow as tf

    # In integers, so that gray stays what it is.
    weighted = tf.tensordot(tf.cast(image, tf.int32), tf.constant([19595, 38470, 7471]), 1)
    return tf.cast(tf.bitwise.right_shift(weighted + 32768, 16), tf.uint8)[..., tf.newaxis]


def resize(image, size):
    """The image as float32 `(height, width, channels)`, bilinear with antialiasing."""
    import tensorflow as tf

    height, width = (size, size) if isinstance(size, int) else size
    return tf.image.resize(image, (height, width), antialias=True)


def new_seed():
    """Two integers that follow `keras.utils.set_random_seed`."""
    import tensorflow as tf

    return tf.random.uniform((2,), maxval=tf.int32.max, dtype=tf.int32)


def fold_seed(seed, number):
    """The seed of step `number` under `seed`."""
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
