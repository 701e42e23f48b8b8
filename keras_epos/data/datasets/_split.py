"""What every reader returns."""

import dataclasses
from typing import NamedTuple

import numpy as np


@dataclasses.dataclass(frozen=True)
class Split:
    """Samples with labels, to pass as `balanced_batches(split.inputs, split.labels)`.

    Attributes:
        inputs: List of N paths, or array of N inputs on the first axis.
        labels: int64 `(N,)`, 0-based, the class to learn or to retrieve.
        class_names: List of names; `class_names[label]` is the name of a label. All splits of a
            data set share the list, so a label means one class everywhere.
        modes: int64 `(N,)` or None: a finer label hidden from training, such as the character
            where the class is the alphabet.
        mode_names: List of names for `modes`.
        groups: int64 `(N,)` or None: a coarser label, such as the kind of product.
        group_names: List of names for `groups`.
    """

    inputs: object
    labels: np.ndarray
    class_names: list
    modes: np.ndarray | None = None
    mode_names: list | None = None
    groups: np.ndarray | None = None
    group_names: list | None = None

    def __len__(self):
        return len(self.labels)

    def take(self, rows):
        """The split of some samples; `rows` is a bool mask `(N,)` or integer indices."""
        rows = np.arange(len(self))[rows]
        is_list = isinstance(self.inputs, list)
        inputs = [self.inputs[row] for row in rows] if is_list else self.inputs[rows]
        return dataclasses.replace(
            self,
            inputs=inputs,
            labels=self.labels[rows],
            modes=None if self.modes is None else self.modes[rows],
            groups=None if self.groups is None else self.groups[rows],
        )


class TrainTest(NamedTuple):
    """Training and test samples. In zero-shot splits no class is in both."""

    train: Split
    test: Split


class TrainValidationTest(NamedTuple):
    """Samples to train on, to choose settings by, and to test once. In zero-shot splits no class is in two."""

    train: Split
    validation: Split
    test: Split


class TrainQueryGallery(NamedTuple):
    """Samples to train on, and others: queries to look up in a gallery, which share their classes."""

    train: Split
    query: Split
    gallery: Split


def zero_shot(split, num_train_classes):
    """Return `TrainTest`: the labels below `num_train_classes`, and the others."""
    is_train = split.labels < num_train_classes
    return TrainTest(split.take(is_train), split.take(~is_train))


def numbered(names):
    """int64 labels `(N,)` for names in sorted order, and the list of distinct names."""
    distinct, labels = np.unique(np.asarray(names, dtype=str), return_inverse=True)
    return labels.reshape(-1).astype(np.int64), distinct.tolist()
