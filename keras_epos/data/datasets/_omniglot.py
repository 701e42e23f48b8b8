"""Omniglot: 20 drawings of each of 1,623 characters from 50 alphabets (Lake et al., 2015)."""

import zipfile

import numpy as np

from keras_epos.data.datasets._files import find_root, paths_below, require
from keras_epos.data.datasets._split import Split, TrainTest, numbered

_PARTS = ("images_background", "images_evaluation")

_INSTRUCTIONS = """\
Download https://github.com/brendenlake/omniglot/raw/master/python/images_background.zip and
https://github.com/brendenlake/omniglot/raw/master/python/images_evaluation.zip (15 MB together)
into
this folder. They need not be unpacked. MIT license."""


def omniglot(data_dir, *, label="character", size=105):
    """Read Omniglot with its official split: 30 alphabets to train, 20 others to test.

    With `label='alphabet'` the characters are the hidden modes of the classes: a test bed for what
    easy positives are good for.

    Args:
        data_dir: Folder with the two official zip files, or with what they unpack to.
        label: 'character', and `groups` are the alphabets; or 'alphabet', and `modes` are the
            characters.
        size: Side in pixels; the originals have 105. Smaller images are averaged (antialiased).

    Returns:
        `TrainTest`. `inputs`: uint8 `(N, size, size, 1)`, black strokes (0) on white (255). Labels
        number the sorted names, the training part first: characters 0..963 | 964..1622, alphabets
        0..29 | 30..49.

    Raises:
        FileNotFoundError: With instructions, if the files are not there.
        ValueError: For a list with a name that leads out of the folder.
    """
    if label not in ("character", "alphabet"):
        raise ValueError(f"`label` must be 'character' or 'alphabet'. Received: label={label!r}.")
    root = find_root(data_dir, "omniglot", f"{_PARTS[0]}.zip")
    needed = [p if (root / p).is_dir() else f"{p}.zip" for p in _PARTS]
    require("Omniglot", root, needed, _INSTRUCTIONS)
    parts = [_read_part(root, part) for part in _PARTS]
    train_size = len(parts[0])
    names, contents = zip(*parts[0], *parts[1], strict=True)
    is_train = np.arange(len(names)) < train_size
    characters = _number([name.rsplit("/", 1)[0] for name in names], is_train)
    alphabets = _number([name.split("/", 1)[0] for name in names], is_train)
    images = _decode(contents, size)
    if label == "character":
        split = Split(images, *characters, groups=alphabets[0], group_names=alphabets[1])
    else:
        split = Split(images, *alphabets, modes=characters[0], mode_names=characters[1])
    return TrainTest(split.take(is_train), split.take(~is_train))


def _number(names, is_train):
    """Labels `(N,)` and their names, those of the training part first."""
    names = np.asarray(names)
    first, first_names = numbered(names[is_train])
    second, second_names = numbered(names[~is_train])
    return np.concatenate([first, second + len(first_names)]), first_names + second_names


def _read_part(root, part):
    """The sorted list of (alphabet/character/file, contents) of one official half."""
    if (root / part).is_dir():
        files = (root / part).glob("*/*/*.png")
        return sorted((f.relative_to(root / part).as_posix(), f.read_bytes()) for f in files)
    with zipfile.ZipFile(root / f"{part}.zip") as archive:
        # macOS adds hidden copies named `__MACOSX/...`, hence the check of the beginning.
        names = [n for n in archive.namelist() if n.startswith(f"{part}/") and n.endswith(".png")]
        paths_below("Omniglot", root, names)
        return sorted((name.split("/", 1)[1], archive.read(name)) for name in names)


def _decode(contents, size):
    """The images as uint8 `(N, size, size, 1)`."""
    import tensorflow as tf

    def decode(content):
        image = tf.ensure_shape(tf.io.decode_png(content, channels=1), (None, None, 1))
        if size != 105:
            image = tf.image.resize(image, (size, size), antialias=True)
        return tf.cast(tf.round(tf.cast(image, tf.float32)), tf.uint8)

    images = tf.data.Dataset.from_tensor_slices(list(contents))
    images = images.map(decode, num_parallel_calls=tf.data.AUTOTUNE).batch(256)
    return np.concatenate(list(images.as_numpy_iterator()))
