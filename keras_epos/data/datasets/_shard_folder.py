"""Photographs in shards, as `write_shards` and `keras-epos pack` write them."""

import os
from pathlib import Path

import numpy as np

from keras_epos.data._records import LABELS, Records, read_about
from keras_epos.data.datasets._image_folder import held_out
from keras_epos.data.datasets._split import Split


def shard_folder(data_dir, *, test_classes=None, validation_classes=0, test_images=0, seed=0):
    """Read a folder of shards, and split it as `image_folder` splits the photographs that it was made of.

        train, test = shard_folder("photos.shards")
        batches = keras_epos.data.balanced_batches(
            train.inputs, train.labels, 8, 4, load=keras_epos.data.image_loader(224)
        )

    Nothing but the labels is read before it is asked for.

    Args:
        data_dir: Folder that `keras_epos.data.write_shards` or `keras-epos pack` wrote.
        test_classes, validation_classes, test_images, seed: See `image_folder`. With test_classes=0 all are in `train`.

    Returns:
        `TrainTest`, or with validation classes `TrainValidationTest`. `inputs` are the encoded images: `len(inputs)`,
        and `inputs[i]`, the bytes of one file; `inputs.paths` says which file it was. A slice or an array of indices
        names a part of them without reading it.

    Raises:
        ValueError: If it is no such folder, and for shares or numbers out of range.
        ImportError: If what reads it is not installed: `pip install keras-epos[grain]`.
    """
    folder = Path(os.path.expanduser(data_dir))
    about = read_about(folder)
    split = Split(Records(folder), np.load(folder / LABELS, mmap_mode="r"), about["class_names"])
    return held_out(split, test_classes, validation_classes, test_images, seed)
