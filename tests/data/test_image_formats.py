"""One guard for all decoding: what is accepted is the same by TensorFlow and by Pillow, the rest is refused."""

import io
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_epos.data import _image_headers as image_headers
from keras_epos.data import _images as images
from keras_epos.data import _pillow_images as pillow_images
from keras_epos.data import _tensorflow_images as tensorflow_images
from keras_epos.data import decode_and_resize
from keras_epos.serving._decode_image import decode_image

RNG = np.random.default_rng(0)
RGB = Image.fromarray(RNG.integers(0, 256, (8, 10, 3), np.uint8)).resize((50, 40), Image.Resampling.BICUBIC)
PALETTE = RGB.quantize(64)
RGBA = RGB.copy()
RGBA.putalpha(Image.fromarray(RNG.integers(0, 256, (40, 50), np.uint8)))
MODES = {"1": RGB.convert("1"), "L": RGB.convert("L"), "LA": RGBA.convert("LA"), "P": PALETTE, "RGB": RGB, "RGBA": RGBA}


def encoded(image, form, **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


@pytest.fixture(scope="module")
def decode():
    return tf.function(
        lambda contents: tensorflow_images.decode(contents, 3, 10_000), input_signature=[tf.TensorSpec((), tf.string)]
    )


def accepted():
    for mode in MODES:
        yield f"png {mode}", encoded(MODES[mode], "PNG")
    yield "png with a transparent color", encoded(PALETTE, "PNG", transparency=3)
    yield "png of 16 bits", encoded(Image.fromarray(RNG.integers(0, 65536, (40, 50), np.uint16)), "PNG")
    yield "png of 48 bits", tf.io.encode_png(RNG.integers(0, 65536, (40, 50, 3), np.uint16)).numpy()
    for mode in ("L", "P", "RGB", "RGBA"):
        yield f"bmp {mode}", encoded(MODES[mode], "BMP")
    for mode in ("1", "L", "P", "RGBA"):
        yield f"gif {mode}", encoded(MODES[mode], "GIF")
    yield "gif that moves", encoded(PALETTE, "GIF", save_all=True, append_images=[PALETTE.rotate(180)] * 3)
    for lossless in (False, True):
        for mode in ("RGB", "RGBA"):
            yield f"webp {mode} {lossless}", encoded(MODES[mode], "WEBP", lossless=lossless, exact=True)
    for mode, options in (("RGB", {"subsampling": 0}), ("RGB", {"progressive": True}), ("L", {})):
        yield f"jpeg {mode} {options}", encoded(MODES[mode], "JPEG", **options)
    yield "jpeg CMYK", encoded(RGB.convert("CMYK"), "JPEG")


def test_both_decoders_agree_on_every_format(decode):
    for name, contents in accepted():
        found, expected = decode(contents).numpy(), pillow_images.decode(contents, 3, 10_000)
        assert found.shape == (40, 50, 3), name
        np.testing.assert_allclose(found.astype(int), expected, rtol=0, atol=6 if "jpeg" in name else 0, err_msg=name)


def test_the_decoder_that_exports_carry_is_the_same():
    tags = Image.Exif()
    tags[0x112] = 6
    on_its_side = encoded(RGB, "PNG", exif=tags)
    for name, contents in (*accepted(), ("on its side", on_its_side)):
        for channels in (1, 3):
            decoded = pillow_images.decode(contents, channels, 10_000)
            for size in (decoded.shape[:2], (24, 32)):
                found, expected = decode_image(contents, size, channels), pillow_images.resize(decoded, size)
                assert found.dtype == expected.dtype == np.float32
                np.testing.assert_array_equal(found, expected, err_msg=name)
    moving = encoded(RGB, "WEBP", save_all=True, append_images=[RGB.rotate(180)])
    bomb = bytearray(encoded(RGB, "PNG"))
    bomb[16:29] = struct.pack(">II5B", 2**14, 2**13, 8, 2, 0, 0, 0)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    for contents in (moving, bytes(bomb), small_frame(), encoded(MODES["1"], "BMP"), encoded(RGB, "TIFF"), b"", b"\0"):
        with pytest.raises((ValueError, OSError)):
            decode_image(contents)


def test_ordinary_files_take_the_short_way_to_the_same_pixels(decode, monkeypatch):
    """The long way reads the whole header; a graph takes it for files that are large, have EXIF or are not usual."""
    tags = Image.Exif()
    tags[0x112] = 6
    with_exif = [encoded(RGB, form, exif=tags) for form in ("JPEG", "PNG")]
    large = encoded(RGB, "JPEG", icc_profile=bytes(tensorflow_images.SMALL_FILE))
    usual = {name: contents for name, contents in accepted() if name.startswith(("jpeg", "png"))}
    for name, contents in usual.items():
        # Eager code always takes the long way.
        np.testing.assert_array_equal(decode(contents), tensorflow_images.decode(contents, 3, 10_000), err_msg=name)
    for contents in (*with_exif, large):
        np.testing.assert_array_equal(decode(contents), tensorflow_images.decode(contents, 3, 10_000))

    def refuse(contents):
        header = image_headers.read_header(contents)
        return header._replace(fault=tf.strings.join(["the long way", header.fault]))

    monkeypatch.setattr(
        tensorflow_images, "image_headers", SimpleNamespace(**vars(image_headers) | {"read_header": refuse})
    )
    short = tf.function(
        lambda contents: tensorflow_images.decode(contents, 3, 10_000), input_signature=[tf.TensorSpec((), tf.string)]
    )
    for name, contents in usual.items():
        assert short(contents).shape == (40, 50, 3), name
    for contents in (*with_exif, large, encoded(RGB, "BMP")):
        with pytest.raises(tf.errors.InvalidArgumentError, match="the long way"):
            short(contents)
    # A chunk before the header of a PNG: its size stands elsewhere.
    png = usual["png RGB"]
    late = png[:8] + b"\0\0\0\0abcd" + struct.pack(">I", zlib.crc32(b"abcd")) + png[8:]
    with pytest.raises(tf.errors.InvalidArgumentError, match="the long way"):
        short(late)


def test_exif_turns_the_picture_upright(decode):
    """Against Pillow's own `exif_transpose`; both byte orders, behind other tags and long segments."""
    from PIL import ImageOps

    for orientation in range(1, 9):
        tags = Image.Exif()
        tags[0x10F], tags[0x112], tags[0x131] = "Maker", orientation, "program"
        tags.endian = "<>"[orientation % 2]
        for form, options in (("JPEG", {"icc_profile": bytes(200_000)}), ("PNG", {}), ("WEBP", {"lossless": True})):
            contents = encoded(RGB, form, exif=tags, **options)
            expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(contents))), int)
            np.testing.assert_array_equal(pillow_images.decode(contents, 3, 10_000), expected)
            np.testing.assert_allclose(decode(contents).numpy(), expected, rtol=0, atol=6 if form == "JPEG" else 0)
    served = decode_and_resize(contents, (50, 40))  # the last one, orientation 8, stands on its side
    np.testing.assert_array_equal(served, expected)


def test_damaged_exif_leaves_the_picture_as_it_is(decode):
    tags = Image.Exif()
    tags[0x112] = 6
    whole = encoded(RGB, "PNG", exif=tags)
    begin = whole.index(b"eXIf") + 4
    assert decode(whole).shape == (50, 40, 3)
    for offset, value in ((0, b"XX"), (4, b"\xff\xff\xff\x7f"), (8, b"\0\0"), (18, b"\x63\0")):
        piece = bytearray(whole)
        # Pillow wrote it in the byte order of this machine or in big-endian: make both the same.
        piece[begin + offset : begin + offset + len(value)] = (
            value if piece[begin : begin + 2] == b"II" else value[::-1]
        )
        length = struct.unpack(">I", piece[begin - 8 : begin - 4])[0]
        crc = zlib.crc32(piece[begin - 4 : begin + length])
        piece[begin + length : begin + length + 4] = struct.pack(">I", crc)
        assert decode(bytes(piece)).shape == (40, 50, 3), offset
        assert pillow_images.decode(bytes(piece), 3, 10_000).shape == (40, 50, 3), offset


def small_frame():
    contents = bytearray(encoded(PALETTE, "GIF"))
    contents[6:10] = struct.pack("<HH", 70, 60)
    return bytes(contents)


def test_what_is_not_decoded_is_refused_in_one_sentence(decode):
    moving = encoded(RGB, "WEBP", save_all=True, append_images=[RGB.rotate(180)])
    refused = [
        (encoded(RGB, "TIFF"), image_headers.UNKNOWN),
        (encoded(RGB, "PPM"), image_headers.UNKNOWN),
        (b"/photos/one.jpg", image_headers.UNKNOWN),
        (b"", image_headers.UNKNOWN),
        (encoded(MODES["1"], "BMP"), image_headers.PALETTE_BMP),
        (moving, image_headers.MOVING_WEBP),
        (small_frame(), image_headers.SMALL_FRAME),
    ]
    for contents, message in refused:
        for function, kind in (
            (decode, tf.errors.InvalidArgumentError),
            (lambda contents: decode_and_resize(contents, 8), ValueError),
            (lambda contents: pillow_images.decode(contents, 3, 10_000), ValueError),
        ):
            with pytest.raises(kind) as error:
                function(contents)
            assert message in str(error.value)


def png_of_one_color(width, height):
    """A PNG of 1 bit a pixel, a thousandth of what it decodes to."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compress(bytes((1 + width // 8) * height), 9)
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def lying(form, offset, pattern, *size, **options):
    contents = bytearray(encoded(RGB, form, **options))
    struct.pack_into(pattern, contents, contents.index(offset) + len(offset), *size)
    return bytes(contents)


def test_the_size_is_read_before_anything_is_decoded(decode, monkeypatch):
    """None of these hold as many pixels as their header says: a decoder would fail otherwise."""
    large = [
        png_of_one_color(23_000, 23_000)[:100],
        lying("JPEG", b"\xff\xc0\x00\x11\x08", ">HH", 30_000, 30_000),
        lying("JPEG", b"\xff\xc2\x00\x11\x08", ">HH", 30_000, 30_000, progressive=True, icc_profile=bytes(150_000)),
        lying("BMP", b"\x28\0\0\0", "<ii", 30_000, -30_000),
        lying("WEBP", b"\x9d\x01\x2a", "<HH", 16_383, 16_383),
        lying("WEBP", b"\x2f", "<I", 0x0FFFFFFF, lossless=True),
    ]
    frame = bytearray(encoded(PALETTE, "GIF"))
    start = frame.index(b"\x2c\0\0\0\0\x32\0")
    frame[start + 5 : start + 9] = struct.pack("<HH", 60_000, 60_000)
    for contents in (*large, bytes(frame)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="at most max_pixels=10000 pixels"):
            decode(contents)
        with pytest.raises(ValueError, match="at most max_pixels=67108864 pixels"):
            decode_and_resize(contents, 8)
    for contents in (large[0], large[3], bytes(frame)):
        with pytest.raises(ValueError, match="at most max_pixels"):
            pillow_images.decode(contents, 3, 10_000)
    with pytest.raises(ValueError, match="at most max_pixels=1999"):
        images.image_loader(8, max_pixels=1999)(encoded(RGB, "PNG"))
    assert images.image_loader(8, max_pixels=2000)(encoded(RGB, "PNG")).shape == (8, 8, 3)


def test_only_the_first_frame_of_a_gif_is_decoded():
    contents = encoded(PALETTE, "GIF", save_all=True, append_images=[PALETTE.rotate(90 + n) for n in range(20)])
    first = image_headers.read_header(tf.constant(contents)).contents.numpy()
    assert len(first) < len(contents) / 10
    assert first[-1:] == b";"
