"""Small pictures for pages, as JPEG."""

import base64
import io

from keras_epos.data._images import MAX_PIXELS
from keras_epos.data._pillow_images import decode

# Longer side in pixels.
SIDE = 320


def check_pillow():
    """Say that Pillow is missing, if it is."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ValueError("A page with pictures needs Pillow: pip install pillow.") from error


def small_picture(contents):
    """A small JPEG of an encoded image, upright, in RGB.

    Args:
        contents: Bytes of an image in one of the formats that models are given.

    Raises:
        ValueError: For what is damaged, too large (`MAX_PIXELS`) or no image.
    """
    from PIL import Image

    try:
        small = Image.fromarray(decode(contents, 3, MAX_PIXELS))
    except ValueError:
        raise
    except Exception as error:  # of many kinds, from inside of Pillow
        raise ValueError(f"An image must be whole. Received: one that is damaged; {error}.") from error
    small.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=80)
    return file.getvalue()


def as_address(jpeg):
    """The picture itself as an address, for pages that need no other file."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
