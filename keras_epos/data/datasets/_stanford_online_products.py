"""Stanford Online Products: 120,053 photographs of 22,634 products (Song et al., 2016)."""

import numpy as np

from keras_epos.data.datasets._files import find_root, paths_below, require, require_images
from keras_epos.data.datasets._split import Split, TrainTest, numbered

_INSTRUCTIONS = """\
Download ftp://cs.stanford.edu/cs/cvgl/Stanford_Online_Products.zip (2.9 GB; where ftp is blocked,
see https://cvgl.stanford.edu/projects/lifted_struct for other sources) and unpack it here: it makes
Stanford_Online_Products/ with Ebay_train.txt, Ebay_test.txt and twelve folders *_final/."""


def stanford_online_products(data_dir):
    """Read Stanford Online Products, official split: 11,318 products to train, 11,316 to test.

    Args:
        data_dir: The folder `Stanford_Online_Products` of the archive, or the one that holds it.

    Returns:
        `TrainTest` with labels 0..11317 in train and 11318..22633 in test (the official `class_id`
        less one). `inputs`: paths; `groups`: the twelve kinds of product; `class_names`: the shop's
        item numbers.

    Raises:
        FileNotFoundError: With instructions, if the files are not there.
        ValueError: For a list with a name that leads out of the folder.
    """
    root = find_root(data_dir, "Stanford_Online_Products", "Ebay_train.txt")
    lists = ["Ebay_train.txt", "Ebay_test.txt"]
    require("Stanford Online Products", root, lists, _INSTRUCTIONS)
    rows = [_read_list(root / name) for name in lists]
    files = [row[3] for part in rows for row in part]
    labels = np.array([int(row[1]) for part in rows for row in part], dtype=np.int64) - 1
    groups, group_names = numbered([file.split("/")[0].removesuffix("_final") for file in files])
    paths = paths_below("Stanford Online Products", root, files)
    require_images("Stanford Online Products", root, paths)
    names = dict(zip(labels.tolist(), (_item(file) for file in files), strict=True))
    class_names = [names.get(label, "") for label in range(max(names) + 1)]
    split = Split(paths, labels, class_names, groups=groups, group_names=group_names)
    is_train = np.arange(len(split)) < len(rows[0])
    return TrainTest(split.take(is_train), split.take(~is_train))


def _read_list(path):
    """The rows `image_id class_id super_class_id path`, without the header."""
    return [line.split() for line in path.read_text(encoding="utf-8").splitlines()[1:] if line]


def _item(file):
    """Return `111085122871` of `bicycle_final/111085122871_0.JPG`."""
    return file.split("/")[-1].rsplit("_", 1)[0]
