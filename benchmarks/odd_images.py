"""What becomes of odd images: in a served model, in `image_loader` and in the decoder without TensorFlow.

    python benchmarks/odd_images.py
    python benchmarks/odd_images.py --markdown

Each is made here. "taken" means that the pixels are those that a viewer shows, "damaged" that they are others, and
"refused" that there is an error, or in a request `valid` False for this image alone.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import io
import struct
import tempfile
import zlib

import keras
import numpy as np
import side_by_side
import tensorflow as tf
from PIL import Image

import keras_epos

# What runs in the place of TensorFlow's ops on the other backends; its name is not public.
from keras_epos.data import _pillow_images as pillow_images

SIDE, HEIGHT, WIDTH = 8, 24, 32
COLUMNS = ("embed_bytes", "search_bytes", "match_bytes", "image_loader", "Pillow")
# Of 255, on average. JPEG and palettes cost some levels; another picture differs by fifty.
ALLOWED = 12
MAX_PIXELS = 2**26


def encoded(image, form, **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def picture():
    """Four colors, so that no turn of it looks as it does."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for number, color in enumerate(((220, 40, 40), (40, 200, 60), (50, 60, 210), (230, 210, 60))):
        row, column = divmod(number, 2)
        pixels[row * HEIGHT // 2 :, column * WIDTH // 2 :] = color
    return Image.fromarray(pixels)


def bomb():
    """A PNG of 25 KB that stands for 200 million pixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    width, height = 20_000, 10_000
    rows = zlib.compress(bytes((1 + width // 8) * height), 9)
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def changed(contents, place, value):
    return contents[:place] + value + contents[place + len(value) :]


def odd_images():
    """`{name: (contents, what a viewer shows or None)}`."""
    one = picture()
    gray, palette, turned = one.convert("L"), one.quantize(16), Image.Exif()
    turned[0x112] = 6
    jpeg, png = encoded(one, "JPEG", quality=95, subsampling=0), encoded(one, "PNG")
    moving = {"save_all": True, "append_images": [one.rotate(180)]}
    upright = one.transpose(Image.Transpose.ROTATE_270)
    point = Image.new("RGB", (1, 1), (200, 100, 50))
    deep = np.asarray(gray).astype(np.uint16) * 257
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="32" height="24"><rect width="32" height="24"/></svg>'
    return {
        "JPEG": (jpeg, one),
        "PNG": (png, one),
        "BMP": (encoded(one, "BMP"), one),
        "GIF": (encoded(palette, "GIF"), one),
        "WebP": (encoded(one, "WEBP", lossless=True), one),
        "empty": (b"", None),
        "JPEG, second half missing": (jpeg[: len(jpeg) // 2], None),
        "PNG, second half missing": (png[: len(png) // 2], None),
        "PNG, one byte of the picture changed": (changed(png, png.index(b"IDAT") + 20, b"\x55"), None),
        "JPEG, bytes of the picture changed": (changed(jpeg, len(jpeg) - 40, b"\x55" * 20), None),
        "JPEG, its head alone": (jpeg[:20], None),
        "PNG of 200 million pixels in 25 KB": (bomb(), None),
        "PNG, 1 x 1 pixel": (encoded(point, "PNG"), point),
        "JPEG, 1 x 1 pixel": (encoded(point, "JPEG", quality=95), point),
        "JPEG, gray": (encoded(gray, "JPEG", quality=95), gray),
        "JPEG, CMYK": (encoded(one.convert("CMYK"), "JPEG", quality=95), one),
        "JPEG, progressive": (encoded(one, "JPEG", quality=95, progressive=True), one),
        "PNG, 16 bits, gray": (encoded(Image.fromarray(deep), "PNG"), gray),
        "PNG, 16 bits, RGB": (tf.io.encode_png(np.asarray(one).astype(np.uint16) * 257).numpy(), one),
        "PNG, palette": (encoded(palette, "PNG"), one),
        "PNG, alpha": (encoded(one.convert("RGBA"), "PNG"), one),
        "BMP, palette of 8 bits": (encoded(palette, "BMP"), one),
        "BMP, 1 bit": (encoded(one.convert("1"), "BMP"), one.convert("1")),
        "GIF, animated": (encoded(one, "GIF", **moving), one),
        "PNG, animated": (encoded(one, "PNG", **moving), one),
        "WebP, animated": (encoded(one, "WEBP", lossless=True, **moving), one),
        "JPEG, turned by EXIF": (encoded(one, "JPEG", quality=95, subsampling=0, exif=turned), upright),
        "PNG, turned by EXIF": (encoded(one, "PNG", exif=turned), upright),
        "WebP, turned by EXIF": (encoded(one, "WEBP", lossless=True, exif=turned), upright),
        "TIFF": (encoded(one, "TIFF"), one),
        "text": (b"This is no image, but a text that somebody sent.\n", None),
        "PDF": (encoded(one, "PDF"), None),
        "SVG": (svg, None),
    }


def pixels_of(image):
    """What a viewer shows, in the size of the model."""
    return pillow_images.resize(np.asarray(image.convert("RGB")), (SIDE, SIDE))


def names_of(pictures):
    return [b"picture %d" % number for number in range(len(pictures))]


def export(folder, pictures, side=SIDE):
    """Signatures of a model whose embedding is the pixels, with a gallery of `pictures`, `(n, side, side, 3)`."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((side, side, 3)), layers.Rescaling(1 / 255), layers.Flatten()])
    gallery = keras_epos.Gallery(fingerprint="pixels", threshold=0.98)
    names = [name.decode() for name in names_of(pictures)]
    gallery.add(np.asarray(model(np.asarray(pictures, np.float32))), ids=names, labels=names)
    path = keras_epos.export_savedmodel(model, folder, gallery=gallery, fingerprint="pixels", verify=False)
    return tf.saved_model.load(str(path)).signatures


def seen(pixels, expected):
    """What `pixels` in 0..255 are beside what a viewer shows."""
    if expected is None:
        return "damaged"
    difference = np.abs(np.asarray(pixels, float).reshape(-1) - expected.reshape(-1)).mean()
    return "taken" if difference < ALLOWED else "damaged"


def one_by_one(decode, contents, expected):
    try:
        return seen(decode(contents), expected)
    except (ValueError, OSError, tf.errors.InvalidArgumentError, tf.errors.NotFoundError):
        return "refused"


def by_pillow(contents):
    return pillow_images.resize(pillow_images.decode(contents, 3, MAX_PIXELS), (SIDE, SIDE))


def outcomes():
    """`{name: the word for each of COLUMNS}`."""
    odd = odd_images()
    shown = [None if image is None else pixels_of(image) for _, image in odd.values()]
    pictures = np.unique([one for one in shown if one is not None], axis=0)
    with tempfile.TemporaryDirectory() as folder:
        signatures = export(folder, pictures)
        files = tf.constant([contents for contents, _ in odd.values()])
        embedded = signatures["embed_bytes"](image_bytes=files)
        found = signatures["search_bytes"](image_bytes=files, k=tf.constant(1))
        matched = signatures["match_bytes"](image_bytes=files)
    # Pixels of the embedding, or of the picture whose name is answered, if one is.
    named = {b"": np.full(pictures.shape[1:], np.inf), **dict(zip(names_of(pictures), pictures, strict=True))}
    served = (
        (embedded["valid"], embedded["embedding"] * 255),
        (found["valid"], [named[one] for one in found["ids"].numpy()[:, 0]]),
        (matched["valid"], [named[one] for one in matched["id"].numpy()]),
    )
    load, rows = keras_epos.data.image_loader(SIDE), {}
    for row, ((name, (contents, _)), expected) in enumerate(zip(odd.items(), shown, strict=True)):
        rows[name] = (
            *(seen(pixels[row], expected) if valid[row] else "refused" for valid, pixels in served),
            one_by_one(load, contents, expected),
            one_by_one(by_pillow, contents, expected),
        )
    return rows


def markdown(rows):
    lines = [["", *COLUMNS], ["---"] * (1 + len(COLUMNS)), *([name, *cells] for name, cells in rows.items())]
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", action="store_true", help="print the table of docs/photographs.md alone")
    args = parser.parse_args()
    rows = outcomes()
    if args.markdown:
        print(markdown(rows))
        return
    width = max(map(len, rows)) + 2
    print("\n" + " " * width + "".join(f"{name:>14}" for name in COLUMNS))
    for name, cells in rows.items():
        print(f"{name:<{width}}" + "".join(f"{cell:>14}" for cell in cells))
    print(f"\n{side_by_side.machine()}")


if __name__ == "__main__":
    main()
