"""Decodes photographs for engines that take pixels. It needs Pillow and NumPy alone.

    images = np.stack([decode_image(open(path, "rb").read()) for path in paths])

JPEG, PNG, GIF (the first frame), BMP without palette and WebP without animation are taken. EXIF orientation is
applied, alpha is dropped, gray becomes RGB. The whole picture is squeezed into the size of the model, bilinear with
antialiasing, as `keras_epos.data.decode_and_resize` does it.
"""

import io
import struct

import numpy as np
from PIL import Image

SIZE, CHANNELS = (224, 224), 3
MAX_PIXELS = 2**26


def decode_image(contents, size=SIZE, channels=CHANNELS):
    """float32 `(height, width, channels)` in 0..255 of the bytes of an image file. Raises `ValueError` or `OSError`."""
    image = Image.open(io.BytesIO(contents), formats=("JPEG", "PNG", "GIF", "BMP", "WEBP"))
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"An image must have at most {MAX_PIXELS} pixels. Received: {image.width} x {image.height}")
    if image.format == "BMP":
        header, bits, compression = struct.unpack_from("<I10xHI", contents, 14)
        is_unusual = header < 40 or (bits, compression) not in ((8, 0), (24, 0), (32, 0), (32, 3))
    else:
        is_animated = image.format == "WEBP" and image.is_animated
        is_unusual = is_animated or (image.format == "GIF" and image.tile[0][1] != (0, 0, *image.size))
    if is_unusual:
        raise ValueError("BMP of this kind, animated WebP and GIF whose first frame is smaller are not taken.")
    pixels = _upright(_rgb(image), image.info.get("exif"))
    if channels == 1:
        pixels = (pixels.astype(np.int32) @ [19595, 38470, 7471] + 32768 >> 16)[..., None]
    pixels = np.ascontiguousarray(pixels, np.float32)
    if pixels.shape[:2] == tuple(size):
        return pixels
    colors = [Image.fromarray(np.ascontiguousarray(color)) for color in np.moveaxis(pixels, -1, 0)]
    return np.stack([color.resize(size[::-1], Image.Resampling.BILINEAR) for color in colors], axis=-1)


def _rgb(image):
    if image.mode.startswith("I"):  # 16 bits of gray
        return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=-1)
    transparent = image.info.get("transparency") if image.format == "GIF" else None
    indices = np.asarray(image) if isinstance(transparent, int) else None
    pixels = np.array(image.convert("RGB"))
    if indices is not None:
        pixels[indices == transparent] = 0
    return pixels


def _upright(pixels, exif):
    tags = Image.Exif()
    try:
        tags.load(exif)
    except Exception:  # whatever Pillow raises on damaged data, the picture is there
        return pixels
    orientation = tags.get(274, 1)
    pixels = pixels.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else pixels
    pixels = pixels[::-1] if orientation in (3, 4, 7, 8) else pixels
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels
