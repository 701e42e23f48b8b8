"""The data sets of the study of collapse: classes to learn, and modes that they hide."""

from typing import NamedTuple

import numpy as np
from runs import cars196_features, features_as_they_are, idx_files, small_network

import keras_epos

# Class of each kind of clothes: tops, long wear, shoes, bag.
GROUPS = np.array([0, 1, 0, 1, 0, 2, 0, 2, 3, 2])


class Part(NamedTuple):
    """Inputs `(N, ...)`, the classes `(N,)` that are trained, and the hidden modes `(N,)`, or `None`."""

    inputs: np.ndarray
    labels: np.ndarray
    modes: np.ndarray | None

    def take(self, rows):
        modes = None if self.modes is None else self.modes[rows]
        return Part(self.inputs[rows], self.labels[rows], modes)


class Task(NamedTuple):
    """What is trained and measured.

    Attributes:
        train, test: Never change.
        held_out: Bool `(N,)`, rows of `train` on which settings are chosen after training on the others.
        batch: Classes of a batch, and samples of each.
        steps: Batches of a run.
        network: Function that makes the network.
    """

    train: Part
    test: Part
    held_out: np.ndarray
    batch: tuple
    steps: int
    network: object

    def for_choosing(self):
        """The same task inside the training part: the test part takes no part in the choice of settings."""
        return self._replace(train=self.train.take(~self.held_out), test=self.train.take(self.held_out))


def load(name, data_dir, backbone):
    if name in ("mnist", "fashion_full", "omniglot", "cars196") and data_dir is None:
        raise ValueError(f"`--data-dir` must be given for {name}. Received: none.")
    if name == "cars196":
        return cars196(data_dir, backbone)
    return {"mnist": mnist, "fashion": fashion, "fashion_full": fashion_full, "omniglot": omniglot}[name](data_dir)


def mnist(data_dir):
    """Digits as even and odd: half of the 10,000 official test images to train, half to test."""
    images, digits = idx_files(data_dir, "t10k")
    part = Part(images, digits % 2, digits)
    rows = np.random.default_rng(0).permutation(len(digits))
    train = part.take(np.sort(rows[:5000]))
    return Task(train, part.take(np.sort(rows[5000:])), every_fifth(train), (2, 64), 300, small_network)


def fashion(data_dir):
    """The embedded sample of ten kinds of clothes in four classes."""
    train, test = (Part(part.inputs, part.labels, part.modes) for part in keras_epos.datasets.fashion_sample())
    return Task(train, test, every_fifth(train), (4, 32), 300, small_network)


def fashion_full(data_dir):
    """The 60,000 and 10,000 official images of clothes, in four classes."""
    train, test = (
        Part(images, GROUPS[kinds], kinds)
        for images, kinds in (idx_files(data_dir, part) for part in ("train", "t10k"))
    )
    return Task(train, test, every_fifth(train), (4, 32), 300, small_network)


def omniglot(data_dir):
    """Alphabets as classes; tested on the characters of alphabets that were not seen."""
    split = keras_epos.datasets.omniglot(data_dir, label="alphabet", size=28)
    # As in MNIST: light strokes on black.
    train, test = (Part(255 - part.inputs[..., 0], part.labels, part.modes) for part in split)
    held_out = np.isin(train.labels, np.random.default_rng(0).permutation(30)[:6])
    return Task(train, test, held_out, (4, 64), 300, small_network)


def cars196(data_dir, backbone):
    """Frozen features of photographs; tested on car models that were not seen. No modes are known."""
    split = keras_epos.datasets.cars196(data_dir)
    train, test = (
        Part(features, part.labels, None)
        for part, features in zip(split, cars196_features(split, backbone), strict=True)
    )
    held_out = np.isin(train.labels, np.random.default_rng(0).permutation(98)[:20])
    return Task(train, test, held_out, (10, 8), 300, lambda: features_as_they_are(train.inputs.shape[1]))


def every_fifth(train):
    return np.arange(len(train.labels)) % 5 == 0
