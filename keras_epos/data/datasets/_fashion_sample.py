"""4,000 images of Fashion-MNIST that come with the package (Xiao, Rasul and Vollgraf, 2017)."""

from importlib import resources

import numpy as np

from keras_epos.data.datasets._split import Split, TrainTest

NAMES = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag"]
NAMES += ["Boot"]
COARSE_NAMES = ["tops", "long wear", "shoes", "bag"]
_COARSE = np.array([0, 1, 0, 1, 0, 2, 0, 2, 3, 2], dtype=np.int64)  # the coarse label of each name


def fashion_sample(*, label="coarse"):
    """The embedded data set: small, offline, and made to show what easy positives are for.

    The coarse classes are bundles of looks: tops (T-shirt, Pullover, Coat, Shirt), long wear
    (Trouser, Dress), shoes (Sandal, Sneaker, Boot) and bag. Train on the coarse label and measure
    Recall@1 on the ten hidden modes: a loss that crushes each class to a point loses them.

    400 images of each of the ten, drawn from the training file of Fashion-MNIST (so its
    official test file stays unseen) and halved at random: 200 of each to train, 200 to test. The
    same classes are in both halves. Made by tools/make_fashion_sample.py. MIT license, (c) 2017
    Zalando SE.

    Args:
        label: 'coarse', and `modes` are the ten fine labels; or 'fine', and `groups` are the coarse
            ones.

    Returns:
        `TrainTest` of two splits of 2,000. `inputs`: uint8 `(2000, 28, 28)`, the garment light on
        black (0).
    """
    if label not in ("coarse", "fine"):
        raise ValueError(f"`label` must be 'coarse' or 'fine'. Received: label={label!r}.")
    file = resources.files("keras_epos.data") / "fashion_sample.npz"
    with file.open("rb") as opened, np.load(opened) as arrays:
        images, fine = arrays["images"], arrays["labels"].astype(np.int64)
    coarse = _COARSE[fine]
    if label == "coarse":
        split = Split(images, coarse, COARSE_NAMES, modes=fine, mode_names=NAMES)
    else:
        split = Split(images, fine, NAMES, groups=coarse, group_names=COARSE_NAMES)
    is_train = np.arange(len(split)) < len(split) // 2
    return TrainTest(split.take(is_train), split.take(~is_train))
