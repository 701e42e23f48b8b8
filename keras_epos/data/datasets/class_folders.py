"""Files in class folders: which are images, whose class they are, and what is passed over."""

import collections
import os
from pathlib import Path
from typing import NamedTuple

# What the decoder reads, in small letters.
ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp")
# Names of folders that are parts of a data set and no classes.
PARTS = {"train": "train", "training": "train", "val": "validation", "valid": "validation"}
PARTS |= {"validation": "validation", "test": "test", "testing": "test", "query": "query", "gallery": "gallery"}
# Written by systems, not by people.
_SYSTEM_FILES = ("thumbs.db", "desktop.ini")


class ClassFolders(NamedTuple):
    """Images of a folder of class folders, one entry an image in each list, and what was passed over."""

    paths: list
    classes: list
    parts: list  # "train" and so on; None where the folder has no such parts
    passed_over: list  # one phrase each


def read_class_folders(root):
    """Find the images of `root/<class>/...`, or of `root/<part>/<class>/...` where every folder is a part.

    Args:
        root: `Path` of a folder that exists.

    Returns:
        `ClassFolders`, sorted by path.

    Raises:
        ValueError: where some folders are parts and others are not, or parts hold no class folders.
    """
    files, folders = _walk(root)
    images = [parts for parts in files if _ending(parts) in ENDINGS]
    has_parts = _has_parts(root, images)
    depth = 1 if has_parts else 0
    inside = [parts for parts in images if len(parts) > depth + 1]
    beside = [parts for parts in images if len(parts) <= depth + 1]
    return ClassFolders(
        [str(root.joinpath(*parts)) for parts in inside],
        [parts[depth] for parts in inside],
        [PARTS[parts[0].lower()] if has_parts else None for parts in inside],
        [
            *_other_files([parts for parts in files if len(parts) > 1 and _ending(parts) not in ENDINGS]),
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
    named = {top for top in tops if top.lower() in PARTS}
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
