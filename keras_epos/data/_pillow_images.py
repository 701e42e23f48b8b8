"""Photographs by Pillow and NumPy, for the backends that come without TensorFlow.

`tensorflow_images` has the same functions, as TensorFlow ops; `images` picks between the two. A picture goes through
both to the same values: exactly before the resizing (but for JPEG, whose decoders differ by some of 255 levels), to
0.01 after it.
"""

import io
import struct

import numpy as np

from keras_epos.data import _image_headers as image_headers
from keras_epos.data._inputs import is_encoded

# TensorFlow decodes no others.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")


def read(element):
    """The contents of the file that `element` names, or `element` itself where it is an encoded image."""
    if isinstance(element, bytes) and is_encoded(element):
        return element
    try:
        with open(element, "rb") as file:
            return file.read()
    except (TypeError, ValueError) as error:
        raise ValueError(not_a_path(type(element).__name__)) from error


def not_a_path(kind):
    return (
        f"`image_loader` must be given the path of a file, or the bytes of one. Received: {kind}. Images that are "
        "arrays already need no `image_loader`: leave `load` out of `balanced_batches`, pass `load=lambda image: "
        "image` to `image_batches`."
    )


def decode(contents, channels, max_pixels):
    """The uint8 array `(height, width, channels)` of an encoded image, turned upright."""
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(contents), formats=FORMATS)
        size = image.size
    except UnidentifiedImageError as error:
        raise ValueError(image_headers.UNKNOWN) from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"An image must have at most max_pixels={max_pixels} pixels. Received: {error}") from error
    if size[0] * size[1] > max_pixels:
        raise ValueError(
            f"An image must have at most max_pixels={max_pixels} pixels. Received: height, width = {size[1]} {size[0]}"
        )
    fault = _fault(image, contents)
    if fault:
        raise ValueError(fault)
    pixels = _pixels(image)
    if channels == 1:
        pixels = _gray(pixels)
    return _upright(pixels, image.info.get("exif"))


def _fault(image, contents):
    """What TensorFlow would decode to something else."""
    if image.format == "WEBP" and image.is_animated:
        return image_headers.MOVING_WEBP
    if image.format == "GIF" and image.tile[0][1] != (0, 0, *image.size):
        return image_headers.SMALL_FRAME
    if image.format == "BMP":
        (header,), (bits, compression) = struct.unpack_from("<I", contents, 14), struct.unpack_from("<HI", contents, 28)
        is_plain = (bits in (8, 24, 32) and compression == 0) or (bits == 32 and compression == 3)
        return "" if is_plain and header >= 40 else image_headers.PALETTE_BMP
    return ""


def _pixels(image):
    """RGB as TensorFlow has it: without the alpha channel, what is transparent in a GIF in black."""
    if image.mode.startswith("I"):  # 16 bits of gray
        return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=-1)
    transparent = image.info.get("transparency") if image.format == "GIF" else None
    indices = np.asarray(image) if isinstance(transparent, int) else None
    pixels = np.array(image.convert("RGB"))
    if indices is not None:
        pixels[indices == transparent] = 0
    return pixels


def _gray(pixels):
    red, green, blue = np.moveaxis(pixels.astype(np.int32), -1, 0)
    return ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16).astype(np.uint8)[..., None]


def _upright(pixels, exif):
    from PIL import Image

    tags = Image.Exif()
    try:
        tags.load(exif)
    except Exception:  # whatever Pillow raises on damaged data, the picture is there
        return pixels
    orientation = tags.get(image_headers.ORIENTATION, 1)
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def resize(image, size):
    """The image as float32 `(height, width, channels)`, bilinear with antialiasing."""
    from PIL import Image

    height, width = (size, size) if isinstance(size, int) else size
    image = np.asarray(image, np.float32)
    if image.shape[:2] == (height, width):
        return image
    channels = [
        Image.fromarray(channel).resize((width, height), Image.Resampling.BILINEAR)
        for channel in np.ascontiguousarray(np.moveaxis(image, -1, 0))
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


def new_seed():
    """Two integers that follow `keras.utils.set_random_seed`."""
    return np.random.randint(np.iinfo(np.int32).max, size=2, dtype=np.int32)


def fold_seed(seed, number):
    """The seed of step `number` under `seed`."""
    return np.random.SeedSequence([*_entropy(seed), number]).generate_state(2).astype(np.int32)


def _entropy(seed):
    return np.asarray(seed).astype(np.uint32).tolist()


def crop(image, seed, scale, ratio):
    """Cut out a random box, drawn as `tf.image.stateless_sample_distorted_bounding_box` draws it.

    The ratio is uniform; then the height, among those whose box has an area within `scale` and fits; then the place.
    """
    rng = np.random.default_rng(_entropy(seed))
    total_height, total_width = image.shape[:2]
    smallest, largest = (share * total_height * total_width for share in scale)
    for _ in range(100):
        aspect = rng.uniform(*ratio)
        high = min(round(np.sqrt(largest / aspect)), total_height, int((total_width + 0.5 - 1e-7) / aspect))
        low = min(round(np.sqrt(smallest / aspect)), high)
        height = int(rng.integers(low, high + 1))
        # Rounding may leave the range of areas by a pixel.
        area = height * round(height * aspect)
        height += 1 if area < smallest else -1 if area > largest else 0
        width = round(height * aspect)
        if smallest <= height * width <= largest and 0 < height <= total_height and 0 < width <= total_width:
            top = int(rng.integers(total_height - height)) if height < total_height else 0
            left = int(rng.integers(total_width - width)) if width < total_width else 0
            return image[top : top + height, left : left + width]
    return image


def flip(image, seed):
    """Mirror left and right, half of the time."""
    return image[:, ::-1] if np.random.default_rng(_entropy(seed)).random() < 0.5 else image


def run_layer(layer, image):
    import keras

    result = keras.ops.convert_to_numpy(layer(image, training=True))
    if result.shape != image.shape:
        raise ValueError(
            f"`layers` must keep the shape of the image, {image.shape}. Received: layer {layer.name!r}, which makes it "
            f"{result.shape}."
        )
    return np.asarray(result, np.float32)
