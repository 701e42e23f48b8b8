"""Your own photographs: one folder a class."""

import collections
import os
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_epos._checks import number
from keras_epos.data.datasets._split import Split, TrainQueryGallery, TrainTest, TrainValidationTest, numbered

# What the decoder reads, in small letters.
_ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp")
# Names of folders that are parts of a data set and no classes.
_PARTS = {"train": "train", "training": "train", "val": "validation", "valid": "validation"}
_PARTS |= {"validation": "validation", "test": "test", "testing": "test", "query": "query", "gallery": "gallery"}
# Written by systems, not by people.
_SYSTEM_FILES = ("thumbs.db", "desktop.ini")


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
        FileNotFoundError: If there is no such folder, or no class folder with an image.
        ValueError: For shares or numbers out of range, or that come to no class; and for parts that are no split.
    """
    root = Path(os.path.expanduser(data_dir))
    if not root.is_dir():
        what = "a file" if root.exists() else "which does not exist"
        message = f"`data_dir` must be a folder that holds one folder a class. Received: {root.absolute()}, {what}."
        raise (NotADirectoryError if root.exists() else FileNotFoundError)(message)
    found = _read_class_folders(root)
    if found.passed_over:
        warnings.warn(f"image_folder passes over, in {root}: {'; '.join(found.passed_over)}.", stacklevel=2)
    if not found.paths:
        raise FileNotFoundError(
            f"No images in the sub-folders of {root.absolute()}.\nThe layout is "
            f"<folder>/<class>/<image>, images ending in {', '.join(_ENDINGS)}."
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
    return held_out(split, test_classes, validation_classes, test_images, seed)


def held_out(split, test_classes, validation_classes, test_images, seed):
    """The parts of a split as the arguments of `image_folder` say: `TrainTest` or `TrainValidationTest`."""
    number("test_images", test_images, "[0, 1)", "a share", "To use all to train, pass 0.")
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


def image_files(folder):
    """Paths of the images of a folder at any depth, sorted; hidden ones and files of other endings are passed over."""
    files, _ = _walk(Path(folder))
    return [str(Path(folder).joinpath(*parts)) for parts in files if _ending(parts) in _ENDINGS]


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
    """The split without, and with only, its last classes: a share in [0, 1) or an integer, their number."""
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
    """Booleans `(N,)`: a share of each class drawn by `seed`, at least one and never all."""
    generator, chosen = np.random.default_rng(seed), np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        number = min(max(1, round(len(rows) * share)), len(rows) - 1)
        chosen[generator.permutation(rows)[:number]] = True
    return chosen


# --- files in class folders: which are images, whose class they are, and what is passed over ---


class _ClassFolders(NamedTuple):
    """Images of a folder of class folders, one entry an image in each list, and what was passed over."""

    paths: list
    classes: list
    parts: list  # "train" and so on; None where the folder has no such parts
    passed_over: list  # one phrase each


def _read_class_folders(root):
    """Find the images of `root/<class>/...`, or of `root/<part>/<class>/...` where every folder is a part.

    Args:
        root: `Path` of a folder that exists.

    Returns:
        `_ClassFolders`, sorted by path.

    Raises:
        ValueError: Where some folders are parts and others are not, or parts hold no class folders.
    """
    files, folders = _walk(root)
    images = [parts for parts in files if _ending(parts) in _ENDINGS]
    has_parts = _has_parts(root, images)
    depth = 1 if has_parts else 0
    inside = [parts for parts in images if len(parts) > depth + 1]
    beside = [parts for parts in images if len(parts) <= depth + 1]
    return _ClassFolders(
        [str(root.joinpath(*parts)) for parts in inside],
        [parts[depth] for parts in inside],
        [_PARTS[parts[0].lower()] if has_parts else None for parts in inside],
        [
            *_other_files([parts for parts in files if len(parts) > 1 and _ending(parts) not in _ENDINGS]),
            *_named(beside, "lying beside the class folders", "image", "images"),
            *_named(_without(inside, folders, depth), "without images", "class folder", "class folders"),
        ],
    )


def _walk(root):
    """Paths of all files and folders below `root` that are not hidden, as sorted tuples of parts."""
    files, folders = [], []

    def refuse(error):
        raise error

    for folder, names, file_names in os.walk(root, onerror=refuse, followlinks=True):
        here = Path(folder).relative_to(root).parts
        names[:] = [name for name in names if not name.startswith(".") and not _leads_up(folder, name)]
        folders += [(*here, name) for name in names]
        files += [(*here, name) for name in file_names if not name.startswith(".")]
    return sorted(files), sorted(folders)


def _leads_up(folder, name):
    """Whether a folder is a link to one that holds it: following it would never end."""
    path = os.path.join(folder, name)
    return os.path.islink(path) and Path(os.path.realpath(path)) in (Path(folder).resolve() / name).parents


def _ending(parts):
    return os.path.splitext(parts[-1])[1].lower()


def _has_parts(root, images):
    tops = {parts[0] for parts in images if len(parts) > 1}
    deep = {parts[0] for parts in images if len(parts) > 2}
    named = {top for top in tops if top.lower() in _PARTS}
    if not named or (len(named) < 2 and (named != tops or not named <= deep)):
        return False
    if named == tops and named <= deep:
        return True
    if named == tops:
        flat, whole = sorted(named - deep), sorted(named & deep) or ["train"]
        raise ValueError(
            f"`data_dir` must hold class folders in each of its parts {_listed(named)}. Received: images without class "
            f"folders in {_listed(flat)}. Pass the folder of one part, such as {root / whole[0]}."
        )
    if len(named & deep) < 2:
        return False
    raise ValueError(
        f"`data_dir` must hold either parts such as {_listed(named)}, or classes. Received: "
        f"{_listed(tops - named)} beside them. Pass one of the parts, or move what is no part away."
    )


def _without(inside, folders, depth):
    used = {parts[: depth + 1] for parts in inside}
    return [parts for parts in folders if len(parts) == depth + 1 and parts not in used]


def _other_files(files):
    counts = collections.Counter(
        _ending(parts) or "without ending" for parts in files if parts[-1].lower() not in _SYSTEM_FILES
    )
    if counts:
        # The most frequent first, then by name.
        numbers = ", ".join(f"{count} {ending}" for ending, count in sorted(counts.items(), key=lambda x: (-x[1], x)))
        total = sum(counts.values())
        yield f"{total} {'file' if total == 1 else 'files'} of other endings ({numbers})"


def _named(places, where, one, many):
    if places:
        names = ", ".join("/".join(parts) for parts in places[:5]) + (", ..." if len(places) > 5 else "")
        yield f"{len(places)} {one if len(places) == 1 else many} {where} ({names})"


def _listed(names):
    return ", ".join(f"{name}/" for name in sorted(names))
