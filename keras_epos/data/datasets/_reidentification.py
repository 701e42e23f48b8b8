"""Re-identification: the conventions of Market-1501, DukeMTMC-reID, MSMT17 and VeRi-776, and a table of your own."""

import csv
import os
import re
from pathlib import Path
from typing import NamedTuple

from keras_epos.data.datasets._files import find_root, paths_below, require, require_images
from keras_epos.data.datasets._split import Split, TrainQueryGallery, numbered

PARTS = TrainQueryGallery._fields
_FOLDERS = ("bounding_box_train", "query", "bounding_box_test")
_NO_DOWNLOAD = "Ask its authors for the archive, and unpack it here: it makes {} with {}."


class _Image(NamedTuple):
    path: str
    identity: str
    camera: str
    part: str


def market1501(data_dir):
    """Read Market-1501 (Zheng et al. 2015): 751 people to train, 750 others by six cameras to retrieve.

    Args:
        data_dir: The folder `Market-1501-v15.09.15` of the archive, or the one that holds it.

    Returns:
        `TrainQueryGallery`. `inputs`: paths; `labels`: identities, numbered over all three; `groups`: cameras, for
        `evaluate(..., cameras=query.groups, gallery_cameras=gallery.groups)`. Images "-1", which the protocol counts
        neither for nor against, are left out; the distractors "0000" are an identity of the gallery.

    Raises:
        FileNotFoundError: With instructions, if the files are not there.
        ValueError: For a file whose name has no identity and camera.
    """
    return _of_names("Market-1501", data_dir, "Market-1501-v15.09.15", _FOLDERS, r"(-?\d+)_c(\d+)")


def duke_mtmc_reid(data_dir):
    """Read DukeMTMC-reID (Ristani et al. 2016): 702 people to train, 702 others by eight cameras to retrieve.

    The authors withdrew the data set in 2019; the reader is for those who work with it, or with files named as its are.

    Args:
        data_dir: The folder `DukeMTMC-reID` of the archive, or the one that holds it.

    Returns:
        As `market1501`.

    Raises:
        FileNotFoundError: With instructions, if the files are not there.
        ValueError: For a file whose name has no identity and camera.
    """
    return _of_names("DukeMTMC-reID", data_dir, "DukeMTMC-reID", _FOLDERS, r"(-?\d+)_c(\d+)")


def veri776(data_dir):
    """Read VeRi-776 (Liu et al. 2016): 576 vehicles to train, 200 others by 20 cameras to retrieve.

    Args:
        data_dir: The folder `VeRi` of the archive, or the one that holds it.

    Returns:
        As `market1501`.

    Raises:
        FileNotFoundError: With instructions, if the files are not there.
        ValueError: For a file whose name has no identity and camera.
    """
    return _of_names("VeRi-776", data_dir, "VeRi", ("image_train", "image_query", "image_test"), r"(-?\d+)_c(\d+)")


def msmt17(data_dir):
    """Read MSMT17 (Wei et al. 2018): 1,041 people to train, 3,060 others by 15 cameras to retrieve.

    Args:
        data_dir: The folder `MSMT17_V1` of the archive, or the one that holds it: `train/`, `test/`, four lists.

    Returns:
        As `market1501`; the validation images are training images, as is the custom. The identities of `test/` are
        others than those of the same number in `train/`, and stand as "test 0000".

    Raises:
        FileNotFoundError: With instructions, if the files are not there.
        ValueError: For a name without a camera, or one that leads out of the folder.
    """
    root = find_root(data_dir, "MSMT17_V1", "list_train.txt")
    lists = {"train": "train", "val": "train", "query": "query", "gallery": "gallery"}
    files = [f"list_{name}.txt" for name in lists]
    require(
        "MSMT17", root, [*files, "train", "test"], _NO_DOWNLOAD.format("MSMT17_V1/", "four lists, train/ and test/")
    )
    images = []
    for file, part in zip(files, lists.values(), strict=True):
        folder = "train" if part == "train" else "test"
        lines = [line.rsplit(maxsplit=1) for line in (root / file).read_text(encoding="utf-8").splitlines() if line]
        paths = paths_below("MSMT17", root / folder, [name for name, _ in lines])
        for path, (name, identity) in zip(paths, lines, strict=True):
            # 0000/0000_000_01_0303morning_0015_0.jpg: identity, image, camera.
            found = re.match(r"\d+_\d+_(\d+)_", os.path.basename(name))
            if found is None:
                raise ValueError(f"MSMT17 must name files as 0000_000_01_0303morning_0015_0.jpg. Received: {path}.")
            images.append(_Image(path, f"{'' if folder == 'train' else 'test '}{identity}", found[1], part))
    require_images("MSMT17", root, [image.path for image in images])
    return _split(images)


def reidentification_table(path):
    """Read a CSV of your own: a line for each image, and a first line that names the columns.

        path,identity,camera,split
        images/0001.jpg,anna,entrance,train
        images/0002.jpg,ben,yard,query

    Args:
        path: The file. Paths in it are relative to its folder. `split` is `train`, `query` or `gallery`; other columns
            are passed over.

    Returns:
        As `market1501`; a part without a line is empty. All labels and cameras are strings.

    Raises:
        FileNotFoundError: If there is no such file, or an image is absent.
        ValueError: For a missing column, an empty entry, another split, or a path that leads out of the folder.
    """
    path = Path(os.path.expanduser(path)).absolute()
    columns = ("path", "identity", "camera", "split")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path} must have the columns {columns}. Received: {reader.fieldnames}.")
        rows = [[(row[name] or "").strip() for name in columns] for row in reader]
    wrong = [number for number, row in enumerate(rows, 2) if not all(row) or row[3] not in PARTS]
    if wrong or not rows:
        what = f"line {wrong[0]}" if wrong else "no line"
        raise ValueError(
            f"{path} must have a path, identity, camera and one of {PARTS} in each line. Received: {what}."
        )
    paths = paths_below(path.name, path.parent, [row[0] for row in rows])
    require_images(path.name, path.parent, paths)
    return _split([_Image(found, *row[1:]) for found, row in zip(paths, rows, strict=True)])


def _of_names(name, data_dir, folder, folders, pattern):
    """Images whose names begin with identity and camera, in one folder for each part."""
    root = find_root(data_dir, folder, folders[0])
    require(name, root, folders, _NO_DOWNLOAD.format(f"{folder}/", ", ".join(f"{part}/" for part in folders)))
    images = []
    for part, of_part in zip(PARTS, folders, strict=True):
        for file in sorted(os.listdir(root / of_part)):
            if os.path.splitext(file)[1].lower() not in (".jpg", ".jpeg", ".png"):
                continue
            found = re.match(pattern, file)
            if found is None:
                raise ValueError(
                    f"{name} must name files as 0002_c1s1_000451_03.jpg. Received: {root / of_part / file}."
                )
            if int(found[1]) >= 0:
                images.append(_Image(str(root / of_part / file), found[1], found[2], part))
    if not images:
        raise FileNotFoundError(f"{name} in {root.absolute()} has no image.\nUnpack its archive again.")
    return _split(images)


def _split(images):
    labels, class_names = numbered([image.identity for image in images])
    groups, group_names = numbered([image.camera for image in images])
    split = Split([image.path for image in images], labels, class_names, groups=groups, group_names=group_names)
    return TrainQueryGallery(*(split.take([image.part == part for image in images]) for part in PARTS))
