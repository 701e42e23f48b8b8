"""Stanford Cars as tensorflow_datasets prepares it: TFRecord files of encoded JPEGs."""

import os
from pathlib import Path

import numpy as np

from keras_epos.data.datasets.split import Split


def find_tfds_folder(data_dir):
    """Return the folder of the newest prepared version under `data_dir`, or None."""
    data_dir = Path(os.path.expanduser(data_dir))
    folders = [data_dir, *data_dir.glob("*.*.*"), *data_dir.glob("cars196/*.*.*")]
    prepared = [f for f in folders if any(f.glob("cars196-train.tfrecord-*"))]
    return max(prepared, key=_version, default=None)


def _version(folder):
    return [int(part) if part.isdigit() else -1 for part in folder.name.split(".")]


def read_tfds(folder):
    """Read all examples of both halves into one `Split`.

    Plain TFRecord parsing, without tensorflow_datasets: the features `image` and `label` are all
    it takes, and version 4.9.10 of the package fails to import parts of itself on Python 3.11.

    Args:
        folder: the version folder, `.../cars196/2.1.0`.

    Returns:
        `Split` with `inputs` as a list of encoded JPEGs (about 1.9 GB for the complete data set),
        labels 0..195.
    """
    import tensorflow as tf

    features = {
        "image": tf.io.FixedLenFeature((), tf.string),
        "label": tf.io.FixedLenFeature((), tf.int64),
    }
    files = [str(path) for path in sorted(folder.glob("cars196-*.tfrecord-*"))]
    records = tf.data.TFRecordDataset(files)
    images, labels = [], []
    for record in records.map(lambda record: tf.io.parse_single_example(record, features)):
        images.append(record["image"].numpy())
        labels.append(int(record["label"]))
    return Split(images, np.array(labels, dtype=np.int64), _class_names(folder))


def _class_names(folder):
    names = folder / "label.labels.txt"
    if names.exists():
        return names.read_text(encoding="utf-8").splitlines()
    return [f"class {number}" for number in range(1, 197)]
