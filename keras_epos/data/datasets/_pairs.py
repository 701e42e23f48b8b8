"""Verification: the lists of pairs of LFW, and templates with pairs of them as IJB has."""

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_epos.data.datasets._files import find_root, paths_below, require, require_images


class Pairs(NamedTuple):
    """Images, each once, and pairs of them.

    Attributes:
        inputs: List of N paths.
        pairs: Rows of either image, int64 `(P, 2)`, for `keras_epos.retrieval.verify_pairs(rows, rows, is_same,
            pairs=pairs, folds=folds, classes=classes)` with `rows` the embeddings of `inputs`.
        is_same: Whether both show the same person, bool `(P,)`.
        folds: The part of each pair, int64 `(P,)`.
        classes: The person of the first image of each pair, strings `(P,)`.
    """

    inputs: list
    pairs: np.ndarray
    is_same: np.ndarray
    folds: np.ndarray
    classes: np.ndarray


class TemplatePairs(NamedTuple):
    """Images of templates, and pairs of templates.

    Attributes:
        inputs: List of N paths.
        templates: The template of each image, int64 `(N,)`.
        media: The video or photograph of each image, int64 `(N,)`.
        pairs: int64 `(P, 2)`: places among the sorted distinct templates, which are the rows of
            `keras_epos.retrieval.template_means(embeddings, templates, media)[0]`.
        is_same: Whether both are of the same person, bool `(P,)`.
    """

    inputs: list
    templates: np.ndarray
    media: np.ndarray
    pairs: np.ndarray
    is_same: np.ndarray


def lfw_pairs(data_dir, pairs="pairs.txt", images="lfw"):
    """Read the pairs of Labeled Faces in the Wild (Huang et al. 2007): 6,000 in ten folds, half of them of one person.

    Args:
        data_dir: The folder that holds the list and the folder of images.
        pairs: The list. Its first line says how many folds there are and how many pairs of either kind each has; then
            come those of one person, `name 1 4`, and those of two, `name 1 other 2`, fold by fold.
        images: The folder of images, one folder a person: `lfw`, `lfw-deepfunneled` or your own crops.

    Returns:
        `Pairs`.

    Raises:
        FileNotFoundError: With instructions, if the files are not there.
        ValueError: For a list that has not the lines that its first one promises, or leads out of the folder.
    """
    root = find_root(data_dir, "lfw", pairs)
    needed = "Its archive and pairs.txt are where its authors say; unpack both here."
    require("LFW", root, [pairs, images], needed)
    first, *lines = [line.split() for line in (root / pairs).read_text(encoding="utf-8").splitlines() if line.strip()]
    # The lists of the development sets have one fold and do not say so.
    sizes = [int(part) for part in first] if all(part.isdigit() for part in first) and len(first) in (1, 2) else [0]
    num_folds, of_a_kind = sizes if len(sizes) == 2 else (1, sizes[0])
    wanted = ([3] * of_a_kind + [4] * of_a_kind) * num_folds
    if [len(line) for line in lines] != wanted or not wanted:
        raise ValueError(
            f"{root / pairs} must hold the pairs that its first line promises: in each fold those of one person, then "
            f"as many of two. Received: {' '.join(first)!r} and {len(lines)} lines."
        )
    named = [((name, one), (rest[0] if len(rest) == 2 else name, rest[-1])) for name, one, *rest in lines]
    images_of, rows = np.unique(np.array(named).reshape(-1, 2), axis=0, return_inverse=True)
    files = [f"{name}/{name}_{int(number):04d}" for name, number in images_of]
    paths = paths_below("LFW", root / images, files)
    paths = [path + _ending(path) for path in paths]
    require_images("LFW", root, paths)
    folds = np.repeat(np.arange(num_folds), 2 * of_a_kind)
    classes = np.array([line[0] for line in lines])
    return Pairs(paths, rows.reshape(-1, 2).astype(np.int64), np.array(wanted) == 3, folds, classes)


def template_pairs(images, pairs, folder):
    """Read templates and pairs of them in the way of IJB-B and IJB-C: two lists and a folder of images.

    Args:
        images: A file with a line for each image: its name, the number of its template, and that of its medium, such
            as `ijbc_face_tid_mid.txt`.
        pairs: A file with a line for each pair: two templates, and 1 or 0 for the same person or not, such as
            `ijbc_template_pair_label.txt`.
        folder: The folder of the images, as cut and aligned for the model.

    Returns:
        `TemplatePairs`.

    Raises:
        FileNotFoundError: If a file or an image is absent.
        ValueError: For a line of another kind, a pair of a template without images, or a name that leads out of the
            folder.
    """
    images, pairs = Path(images).expanduser(), Path(pairs).expanduser()
    lines = [line.rsplit(maxsplit=2) for line in images.read_text(encoding="utf-8").splitlines() if line.strip()]
    wrong = [place for place, line in enumerate(lines, 1) if len(line) != 3 or not (line[1] + line[2]).isdigit()]
    if wrong or not lines:
        raise ValueError(
            f"{images} must have a name, a template and a medium in each line, such as 1.jpg 7 3. Received: "
            f"{f'line {wrong[0]}' if wrong else 'no line'}."
        )
    templates, media = np.array([line[1:] for line in lines]).astype(np.int64).T
    listed = _numbers(pairs)
    names = np.unique(templates)
    known = np.isin(listed[:, :2], names).all(axis=1)
    if not known.all():
        one = listed[np.flatnonzero(~known)[0]]
        raise ValueError(f"{pairs} must name templates of {images}. Received: the pair {one[0]} {one[1]}.")
    paths = paths_below(images.name, Path(folder).expanduser(), [line[0] for line in lines])
    require_images(images.name, Path(folder), paths)
    return TemplatePairs(paths, templates, media, np.searchsorted(names, listed[:, :2]), listed[:, 2] == 1)


def _numbers(path):
    """The lines of a list of pairs, int64 `(P, 3)`. There are millions."""
    try:
        with warnings.catch_warnings():
            # Of an empty file.
            warnings.simplefilter("ignore")
            listed = np.loadtxt(path, np.int64, ndmin=2)
    except ValueError:
        listed = np.empty((0, 0))
    if listed.shape[1] != 3 or not len(listed) or not np.isin(listed[:, 2], (0, 1)).all():
        raise ValueError(f"{path} must have two templates and 1 or 0 in each line, such as 7 9 0.")
    return listed


def _ending(path):
    """The ending of an image that is named without it."""
    return next((ending for ending in (".jpg", ".png", ".jpeg") if Path(path + ending).exists()), ".jpg")
