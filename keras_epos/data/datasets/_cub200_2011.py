"""Caltech-UCSD Birds 200-2011: 11,788 photographs of 200 bird species (Wah et al., 2011)."""

import numpy as np

from keras_epos.data.datasets._files import find_root, paths_below, require, require_images
from keras_epos.data.datasets._split import Split, zero_shot

NUM_TRAIN_CLASSES = 100

_INSTRUCTIONS = """\
Download https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz (1.1 GB) and unpack it
here: it makes CUB_200_2011/ with images.txt, image_class_labels.txt, classes.txt and images/."""


def cub200_2011(data_dir):
    """Read CUB-200-2011, zero-shot split: 100 species to train, 100 others to test.

    Args:
        data_dir: The folder `CUB_200_2011` of the archive, or the one that holds it.

    Returns:
        `TrainTest` with labels 0..99 (the official classes 1-100) in train and 100..199 in test.
        `inputs`: paths.

    Raises:
        FileNotFoundError: With instructions, if the files are not there.
        ValueError: For a list with a name that leads out of the folder.
    """
    root = find_root(data_dir, "CUB_200_2011", "images.txt")
    needed = ["images.txt", "image_class_labels.txt", "classes.txt", "images"]
    require("CUB-200-2011", root, needed, _INSTRUCTIONS)
    images, classes = _read_pairs(root / "images.txt"), _read_pairs(root / "image_class_labels.txt")
    paths = paths_below("CUB-200-2011", root / "images", images.values())
    labels = np.array([int(classes[number]) for number in images], dtype=np.int64) - 1
    require_images("CUB-200-2011", root, paths)
    names = list(_read_pairs(root / "classes.txt").values())
    return zero_shot(Split(paths, labels, names), NUM_TRAIN_CLASSES)


def _read_pairs(path):
    """The dict of a file of lines `number value`, in its order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split(maxsplit=1) for line in lines if line.strip())
