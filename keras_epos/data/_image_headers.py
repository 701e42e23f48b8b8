"""What the head of an encoded image says, read by TensorFlow ops before anything is decoded.

TensorFlow's decoders allocate what the header asks for, ignore EXIF, decode every frame of a GIF and take the indices
of a palette BMP for gray. So the header is read here, in ops that can stand in a SavedModel, and what TensorFlow would
get wrong is refused or turned into what it gets right.
"""

import functools
from typing import NamedTuple

import numpy as np

JPEG, PNG, WEBP, GIF, BMP, OTHER = range(6)
ORIENTATION = 0x0112
# More chunks than a camera writes before the picture, and more blocks than the first frame of any sensible GIF has.
MAX_CHUNKS, MAX_BLOCKS = 256, 2**14

# How a file begins, by kind; how a chunk of EXIF data begins, for the first three. A question mark is any byte.
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n????IHDR", b"RIFF????WEBPVP8", b"GIF8?a", b"BM")
EXIF_CHUNKS = (b"\xff\xe1??Exif\0\0", b"????eXIf", b"EXIF")

UNKNOWN = (
    "An image must be the contents of a JPEG, PNG, GIF, BMP or WebP file. Received: something else, perhaps the path "
    "of a file, or a TIFF, PPM, HEIC, AVIF or JPEG XL file, which are not decoded."
)
PALETTE_BMP = "A BMP image must have 8, 24 or 32 bits a pixel, uncompressed. Received: another kind. Save it as PNG."
SMALL_FRAME = "The first frame of a GIF must cover the whole picture. Received: one that does not. Save it as PNG."
MOVING_WEBP = "A WebP image must not be animated. Received: an animation. Save its first frame."
DAMAGED = "An image must be whole. Received: a file whose header is damaged or cut off."


class Header(NamedTuple):
    """Scalar tensors. `contents` is the file up to the end of the first frame; `fault` is empty for what is fine."""

    kind: object
    height: object
    width: object
    orientation: object
    contents: object
    fault: object


def read_header(contents):
    """The `Header` of a scalar string tensor."""
    return _compiled()(contents)


@functools.cache
def _compiled():
    """One graph for the process: these are hundreds of small ops, slow to trace and slow one by one.

    It is not merged into the graph around it, so that its ops cost nothing where they are not needed. Nothing in it
    fails: TensorFlow keeps a kilobyte for ever each time a function that is not merged does.
    """
    import tensorflow as tf

    return tf.function(
        _read_header,
        input_signature=[tf.TensorSpec((), tf.string)],
        autograph=False,
        experimental_attributes={"_noinline": True},
    )


def _read_header(contents):
    import tensorflow as tf

    head = _bytes(contents, 0, 64)
    kind = tf.argmax(tf.concat([_begins(head, SIGNATURES), [True]], axis=0))
    frame, end_of_frame = _first_frame(contents, head, tf.equal(kind, GIF))
    exif, frame_of_jpeg = _chunks(contents, kind)
    jpeg, gif = _bytes(contents, frame_of_jpeg, 9), _bytes(contents, frame, 9)
    webp_height, webp_width, webp_flags = _webp_size(head)
    sizes = [
        (_number(jpeg[5:7], big=True), _number(jpeg[7:9], big=True)),
        (_number(head[20:24], big=True), _number(head[16:20], big=True)),
        (webp_height, webp_width),
        (_number(gif[7:9]), _number(gif[5:7])),
        (tf.abs(_signed(head[22:26])), _signed(head[18:22])),
        (0, 0),
    ]
    height, width = tf.unstack(tf.convert_to_tensor(sizes, tf.int64)[kind])
    covers = tf.equal(_number(gif[1:5]), 0) & (width >= _number(head[6:8])) & (height >= _number(head[8:10]))
    faults = [
        tf.where(frame_of_jpeg < 0, DAMAGED, ""),
        "",
        tf.where(tf.equal(webp_flags & 2, 0), "", MOVING_WEBP),
        tf.where(frame < 0, DAMAGED, tf.where(covers, "", SMALL_FRAME)),
        tf.where(_is_plain_bmp(head), "", PALETTE_BMP),
        UNKNOWN,
    ]
    is_upright = tf.equal(kind, WEBP) & tf.equal(webp_flags & 8, 0)
    orientation = _choose(is_upright, 1, _orientation(contents, exif))
    # TensorFlow decodes all frames of a GIF, to throw away all but one.
    contents = tf.strings.join([_text(contents, 0, end_of_frame), tf.where(tf.equal(kind, GIF), b";", b"")])
    return Header(kind, height, width, orientation, contents, tf.stack(faults)[kind])


def bmp_palette(contents):
    """The colors of an 8-bit BMP, uint8 `(256, 3)`."""
    import tensorflow as tf

    colors = _bytes(contents, 14 + _number(_bytes(contents, 14, 4)), 1024)
    return tf.cast(tf.reshape(colors, (256, 4))[:, 2::-1], tf.uint8)


def _webp_size(head):
    import tensorflow as tf

    packed = _number(head[21:25])
    lossy, extended = tf.equal(head[15], ord(" ")), tf.equal(head[15], ord("X"))
    sizes = [
        (_number(head[28:30]) % 2**14, _number(head[26:28]) % 2**14),
        (_number(head[27:30]) + 1, _number(head[24:27]) + 1),
        (packed // 2**14 % 2**14 + 1, packed % 2**14 + 1),
    ]
    height, width = tf.unstack(tf.convert_to_tensor(sizes)[tf.where(lossy, 0, tf.where(extended, 1, 2))])
    return height, width, _choose(extended, head[20], 0)


def _is_plain_bmp(head):
    import tensorflow as tf

    bits, compression = _number(head[28:30]), _number(head[30:34])
    is_plain = tf.equal(compression, 0) & tf.reduce_any(tf.equal(bits, [8, 24, 32]))
    # Red, green and blue stand where TensorFlow takes them to be.
    has_usual_masks = _begins(head[54:], [b"\0\0\xff\0\0\xff\0\0\xff"])[0]
    is_plain |= tf.equal(compression, 3) & tf.equal(bits, 32) & has_usual_masks
    return is_plain & (_number(head[14:18]) >= 40)


def _chunks(contents, kind):
    """Where the EXIF data begin, and the marker of a JPEG that tells the size: -1 for what is not there."""
    import tensorflow as tf

    length = _length(contents)

    def step(at, exif, frame):
        window = _bytes(contents, at, 12)
        first, marker = window[0], window[1]
        is_marker = tf.equal(first, 0xFF) & tf.reduce_all(tf.not_equal(marker, [0, 0xFF]))
        # As libjpeg does: stray bytes are passed over, and some markers stand alone.
        stands_alone = tf.equal(marker, 1) | ((marker >= 0xD0) & (marker <= 0xD8))
        jpeg = _choose(stands_alone, 2, 2 + _number(window[2:4], big=True))
        jpeg = _choose(is_marker, jpeg, _choose(tf.equal(first, 0xFF) & tf.equal(marker, 0), 2, 1))
        png = 12 + _number(window[:4], big=True)
        webp = 8 + (_number(window[4:8]) + 1) // 2 * 2
        is_frame = (
            is_marker & (marker >= 0xC0) & (marker <= 0xCF) & ~tf.reduce_any(tf.equal(marker, [0xC4, 0xC8, 0xCC]))
        )
        is_end = is_marker & (tf.equal(marker, 0xD9) | tf.equal(marker, 0xDA))
        is_last = tf.stack([is_frame | is_end, tf.reduce_all(tf.equal(window[4:8], list(b"IDAT"))), False])[kind]
        is_exif = _begins(window, EXIF_CHUNKS)[kind]
        begin = at + tf.constant([10, 8, 8], tf.int64)[kind]
        return (
            tf.where(is_last, length, at + tf.stack([jpeg, png, webp])[kind]),
            tf.where(is_exif & (exif < 0), begin, exif),
            tf.where(is_frame & tf.equal(kind, JPEG), at, frame),
        )

    nowhere = tf.constant(-1, tf.int64)
    start = tf.stack([tf.constant(2, tf.int64), 8, 12, length, length, length])[kind]
    _, exif, frame = tf.while_loop(
        lambda at, exif, frame: at < length, step, (start, nowhere, nowhere), maximum_iterations=MAX_CHUNKS
    )
    return exif, frame


def _first_frame(contents, head, is_gif):
    """Where the first frame of a GIF begins, -1 if nowhere, and where it ends; the length of any other file."""
    import tensorflow as tf

    block, extension, data, end = (tf.constant(state, tf.int64) for state in range(4))
    length = _length(contents)

    def table(flags):
        return _choose(flags < 0x80, 0, tf.gather(6 * 2 ** np.arange(8), flags % 8))

    def step(at, state, frame):
        window = _bytes(contents, at, 10)
        first = window[0]
        in_blocks = tf.equal(state, block)
        is_extension, is_frame = in_blocks & tf.equal(first, 0x21), in_blocks & tf.equal(first, 0x2C)
        outside = tf.where(is_frame, at + 11 + table(window[9]), at + 2)
        begun = tf.where(is_extension, extension, tf.where(is_frame, data, end))
        # An empty piece of data ends an extension, or the frame.
        ended = tf.where(tf.equal(state, data), end, block)
        inside = tf.where(tf.equal(first, 0), ended, state)
        return (
            tf.where(in_blocks, outside, at + 1 + first),
            tf.where(in_blocks, begun, inside),
            tf.where(is_frame, at, frame),
        )

    at, _, frame = tf.while_loop(
        lambda at, state, frame: (state < end) & (at < length),
        step,
        (13 + table(head[10]), tf.where(is_gif, block, end), tf.constant(-1, tf.int64)),
        maximum_iterations=MAX_BLOCKS,
    )
    return frame, tf.where(is_gif, at, length)


def _orientation(contents, exif):
    """The orientation in the EXIF data that begin there, 1 if they hold none."""
    import tensorflow as tf

    begin = _choose(exif < 0, _length(contents), exif)
    head = _bytes(contents, begin, 14)
    has_prefix = _begins(head, [b"Exif\0\0"])[0]
    begin, head = begin + _choose(has_prefix, 6, 0), tf.where(has_prefix, head[6:], head[:8])
    little, big = tf.unstack(_begins(head, [b"II*\0", b"MM\0*"]))

    def number(digits):
        return tf.where(big, _number(digits, big=True), _number(digits))

    directory = begin + number(head[4:8])
    count = tf.minimum(number(_bytes(contents, directory, 2)), 512)
    entries = tf.reshape(_bytes(contents, directory + 2, count * 12 + 12), (-1, 12))[:-1]
    tag, kind, short = number(entries[:, 0:2]), number(entries[:, 2:4]), number(entries[:, 8:10])
    # A short number; some programs write a long one.
    value = tf.where(tf.equal(kind, 4), number(entries[:, 8:12]), short)
    value = tf.reduce_max(_choose(tf.equal(tag, ORIENTATION), value, 0))
    return _choose((little | big) & (value >= 1) & (value <= 8), value, 1)


def _choose(condition, yes, no):
    """`tf.where` of numbers, all of them int64."""
    import tensorflow as tf

    return tf.where(condition, tf.cast(yes, tf.int64), tf.cast(no, tf.int64))


def _length(contents):
    import tensorflow as tf

    return tf.cast(tf.strings.length(contents), tf.int64)


def _text(contents, at, count):
    import tensorflow as tf

    at = tf.clip_by_value(tf.cast(at, tf.int64), 0, _length(contents))
    return tf.strings.substr(contents, at, tf.cast(count, tf.int64))


def _bytes(contents, at, count):
    """Return `count` bytes from `at` as int64, zeros beyond the end."""
    import tensorflow as tf

    text = _text(contents, at, count)
    return tf.cast(tf.io.decode_raw(text, tf.uint8, fixed_length=tf.cast(count, tf.int32)), tf.int64)


def _begins(found, patterns):
    """For each pattern whether these bytes begin so."""
    import tensorflow as tf

    width = max(map(len, patterns))
    wanted = np.array([list(pattern.ljust(width, b"?")) for pattern in patterns], np.int64)
    return tf.reduce_all(tf.equal(found[:width], wanted) | (wanted == ord("?")), axis=1)


def _number(digits, big=False):
    """The unsigned number on the last axis, big-endian or little-endian."""
    import tensorflow as tf

    places = 256 ** np.arange(digits.shape[-1])
    return tf.reduce_sum(digits * (places[::-1] if big else places), axis=-1)


def _signed(digits):
    import tensorflow as tf

    number = _number(digits)
    return tf.where(number < 2**31, number, number - 2**32)
