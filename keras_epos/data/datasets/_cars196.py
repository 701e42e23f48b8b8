"""Stanford Cars: 16,185 photographs of 196 car models (Krause et al., 2013)."""

import os
import warnings
from pathlib import Path

import numpy as np

from keras_epos.data.datasets._files import find_root, paths_below, require, require_images
from keras_epos.data.datasets._split import Split, zero_shot

NUM_TRAIN_CLASSES = 98

_INSTRUCTIONS = """\
The official links (ai.stanford.edu/~jkrause/cars) have been dead since 2023. Mirrors in the
official layout are collected in https://github.com/pytorch/vision/issues/7545. Put into this
folder, unpacked:
  devkit/cars_train_annos.mat, devkit/cars_meta.mat     (car_devkit.tgz)
  cars_train/*.jpg                                      (cars_train.tgz)
  cars_test/*.jpg, cars_test_annos_withlabels.mat       (optional: cars_test.tgz and its labels)
A folder prepared by tensorflow_datasets is read too. For mirrors with one folder a class, use
keras_epos.data.datasets.image_folder. The images are for non-commercial research."""


def cars196(data_dir):
    """Read Stanford Cars, zero-shot split: 98 car models to train, 98 others to test.

    Both official halves are pooled and split by class, as in the literature. Where the test half is
    absent a warning says so: figures then compare methods with each other, not with published ones.

    Args:
        data_dir: Folder with `devkit/`, `cars_train/` and, optionally, `cars_test/` with
            `cars_test_annos_withlabels.mat` (beside it or in `devkit/`); or a folder in which
            tensorflow_datasets prepared `cars196` (this does not need tensorflow_datasets).

    Returns:
        `TrainTest` with labels 0..97 (the official classes 1-98) in train and 98..195 (99-196) in
        test. `inputs`: paths, or encoded JPEGs (bytes objects) from a tensorflow_datasets folder;
        `image_loader` takes both. The whole photograph: bounding boxes are not applied.

    Raises:
        FileNotFoundError: With instructions, if the files are not there.
        ValueError: For a list with a name that leads out of the folder.
    """
    tfds_folder = _tfds_folder(data_dir)
    if tfds_folder is not None:
        return zero_shot(_read_tfds(tfds_folder), NUM_TRAIN_CLASSES)
    root = find_root(data_dir, "cars196", "devkit/cars_train_annos.mat")
    needed = ["devkit/cars_train_annos.mat", "devkit/cars_meta.mat", "cars_train"]
    require("Stanford Cars", root, needed, _INSTRUCTIONS)
    names = np.atleast_1d(_load_mat(root / "devkit/cars_meta.mat")["class_names"])
    paths, labels = _read_half(root / "cars_train", root / "devkit/cars_train_annos.mat")
    test_labels = _test_annotations(root)
    if test_labels is None or not (root / "cars_test").is_dir():
        warnings.warn(
            f"Stanford Cars in {root} lacks the test half (cars_test/ and "
            "cars_test_annos_withlabels.mat): its Recall@K is not comparable with publications.",
            stacklevel=2,
        )
    else:
        more_paths, more_labels = _read_half(root / "cars_test", test_labels)
        paths, labels = paths + more_paths, np.concatenate([labels, more_labels])
    require_images("Stanford Cars", root, paths)
    return zero_shot(Split(paths, labels, [str(name) for name in names]), NUM_TRAIN_CLASSES)


def _test_annotations(root):
    name = "cars_test_annos_withlabels.mat"
    return next((p for p in (root / name, root / "devkit" / name) if p.exists()), None)


def _read_half(folder, annotations):
    """The paths and the 0-based labels, int64 `(N,)`, of one official half."""
    rows = np.atleast_1d(_load_mat(annotations)["annotations"])
    paths = paths_below("Stanford Cars", folder, rows["fname"])
    return paths, np.array([int(number) for number in rows["class"]], dtype=np.int64) - 1


def _load_mat(path):
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ImportError(
            "Reading Stanford Cars needs scipy. Run `pip install scipy`, or install keras_epos "
            'with its extra: `pip install "keras-epos[data]"`.'
        ) from error
    return loadmat(path, squeeze_me=True)


def _tfds_folder(data_dir):
    """The folder of the newest prepared version under `data_dir`, or None."""
    data_dir = Path(os.path.expanduser(data_dir))
    folders = [data_dir, *data_dir.glob("*.*.*"), *data_dir.glob("cars196/*.*.*")]
    prepared = [f for f in folders if any(f.glob("cars196-train.tfrecord-*"))]
    return max(prepared, key=_version, default=None)


def _version(folder):
    return [int(part) if part.isdigit() else -1 for part in folder.name.split(".")]


def _read_tfds(folder):
    """Read all examples of both halves into one `Split`.

    Plain TFRecord parsing, without tensorflow_datasets: the features `image` and `label` are all
    it takes, and version 4.9.10 of the package fails to import parts of itself on Python 3.11.

    Args:
        folder: The version folder, `.../cars196/2.1.0`.

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
