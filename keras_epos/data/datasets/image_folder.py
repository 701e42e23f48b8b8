"""Your own photographs: one folder a class."""

import os
import warnings
from pathlib import Path

import numpy as np

from keras_epos._checks import number
from keras_epos.data.datasets.class_folders import ENDINGS, read_class_folders
from keras_epos.data.datasets.split import Split, TrainQueryGallery, TrainTest, TrainValidationTest, numbered


def image_folder(data_dir, *, test_classes=None, validation_classes=0, test_images=0, seed=0):
    """Read a folder with one sub-folder of images a class, and split it.

        train, test = image_folder("photos")                                   # half of the classes to test
        train, validation, test = image_folder("photos", validation_classes=0.2)
        train, test = image_folder("photos", test_images=0.25)                 # few classes: all in both

    Where every folder in `data_dir` is named for a part and holds class folders (`train/`, `val/` or `valid/` or
    `validation/`, `test/`, `query/`, `gallery/`), those are the split. Classes are then numbered over all of them,
    so a class in two of them has one label.

    Args:
        data_dir: Folder of class folders. Images (.jpg, .jpeg, .jpe, .jfif, .png, .bmp, .gif, .webp, in small or
            capital letters) may lie deeper in them. A warning counts what is passed over: files of other endings,
            images beside the class folders, class folders without images. Hidden files are passed over without one.
        test_classes: Classes held out for the test, the last ones by name, as is the custom of the field: a share in
            `[0, 1)`, or an integer, their number. By default 0.5, or 0 with `test_images`. With 0 all are in `train`.
        validation_classes: Classes of those left to train that are held out to choose settings and epochs by, the last
            ones by name: a share in `[0, 1)`, or an integer, their number.
        test_images: Share in `[0, 1)` of the images of each training class that are the test instead of classes of
            its own: at least one of a class, and never all. For few classes; it tells less than classes never seen.
        seed: Integer that draws `test_images`.

    Returns:
        `TrainTest`; with validation classes, or from folders of three parts, `TrainValidationTest`; from `query/` and
        `gallery/`, `TrainQueryGallery`. From `train/` and `val/` alone the latter is `test`. Labels number the class
        folders by name; `inputs`: paths.

    Raises:
        FileNotFoundError: if there is no such folder, or no class folder with an image.
        ValueError: for shares or numbers out of range, or that come to no class; and for parts that are no split.
    """
    root = Path(os.path.expanduser(data_dir))
    if not root.is_dir():
        what = "a file" if root.exists() else "which does not exist"
        message = f"`data_dir` must be a folder that holds one folder a class. Received: {root.absolute()}, {what}."
        raise (NotADirectoryError if root.exists() else FileNotFoundError)(message)
    found = read_class_folders(root)
    if found.passed_over:
        warnings.warn(f"image_folder passes over, in {root}: {'; '.join(found.passed_over)}.", stacklevel=2)
    if not found.paths:
        raise FileNotFoundError(
            f"No images in the sub-folders of {root.absolute()}.\nThe layout is "
            f"<folder>/<class>/<image>, images ending in {', '.join(ENDINGS)}."
        )
    number("test_images", test_images, "[0, 1)", "a share", "To use all to train, pass 0.")
    labels, names = numbered(found.classes)
    split = Split(found.paths, labels, names)
    if found.parts[0] is not None:
        if test_classes is not None or test_images:
            raise ValueError(
                f"`test_classes` and `test_images` must be left out where folders are the split. Received: folders of "
                f"{sorted(set(found.parts))}. To split otherwise, pass the folder of one part."
            )
        parts = np.array(found.parts)
        return _folders_as_split(
            root, {part: split.take(parts == part) for part in sorted(set(found.parts))}, validation_classes
        )
    if test_classes is None:
        test_classes = 0 if test_images else 0.5
    elif test_classes and test_images:
        raise ValueError(
            f"`test_images` must be 0 with test classes: the test is either of new classes or of new images. Received: "
            f"test_images={test_images}, test_classes={test_classes}."
        )
    train, test = _hold_out("test_classes", test_classes, split)
    train, validation = _hold_out("validation_classes", validation_classes, train)
    if test_images:
        is_test = _some_of_each_class(train.labels, test_images, seed)
        train, test = train.take(~is_test), train.take(is_test)
    return TrainValidationTest(train, validation, test) if validation_classes else TrainTest(train, test)


def _folders_as_split(root, parts, validation_classes):
    present = set(parts)
    if validation_classes and "train" in parts and "validation" not in parts:
        parts["train"], parts["validation"] = _hold_out("validation_classes", validation_classes, parts["train"])
    elif validation_classes:
        raise ValueError(
            f"`validation_classes` must be 0 where folders hold the validation. Received: folders of {sorted(present)}."
        )
    if present == {"train", "validation"}:
        return TrainTest(parts["train"], parts["validation"])
    if present in ({"query", "gallery"}, {"train", "query", "gallery"}) and not validation_classes:
        nothing = parts["query"].take(slice(0))
        return TrainQueryGallery(parts.get("train", nothing), parts["query"], parts["gallery"])
    if set(parts) == {"train", "test"}:
        return TrainTest(**parts)
    if set(parts) == {"train", "validation", "test"}:
        return TrainValidationTest(**parts)
    raise ValueError(
        f"`data_dir` must hold `train` with `test` or `validation` or both, or `query` and `gallery`. Received: "
        f"folders of {sorted(present)} in {root}. Pass the folder of one part instead."
    )


def _hold_out(name, wanted, split):
    """Return the split without, and with only, its last classes: a share in [0, 1) or an integer, their number."""
    classes = np.unique(split.labels)
    is_number = isinstance(wanted, (int, np.integer)) and not isinstance(wanted, bool)
    if not is_number and (not isinstance(wanted, (float, np.floating)) or not 0 <= wanted < 1):
        raise ValueError(
            f"`{name}` must be a share in [0, 1) or an integer, the number of classes. Received: {name}={wanted!r}. To "
            "use all to train, pass 0."
        )
    # 0.29 of 100 classes is 29, whatever binary fractions make of it.
    number = int(wanted) if is_number else int(len(classes) * wanted + 1e-9)
    if not 0 <= number < len(classes) or (wanted and not number):
        raise ValueError(
            f"`{name}` must leave a class to train, and hold out one unless it is 0. Received: {name}={wanted!r} of "
            f"{len(classes)} classes. To use all to train, pass 0; for few classes, `test_images` holds out images."
        )
    is_held_out = split.labels >= (classes[-number] if number else len(split.class_names))
    return split.take(~is_held_out), split.take(is_held_out)


def _some_of_each_class(labels, share, seed):
    """Return booleans `(N,)`: a share of each class drawn by `seed`, at least one and never all."""
    generator, chosen = np.random.default_rng(seed), np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        number = min(max(1, round(len(rows) * share)), len(rows) - 1)
        chosen[generator.permutation(rows)[:number]] = True
    return chosen
