"""What exported files are checked with: photographs, or random images where there are none."""

import dataclasses
import os
from pathlib import Path

import keras
import numpy as np

from keras_epos.serving._engine import CannotDoError

NUM_RANDOM = 8
# Ranges of activations settle with the first hundred photographs.
CALIBRATION = 100


@dataclasses.dataclass
class Sample:
    """Images of the model's size.

    Attributes:
        images: float32 `(N, height, width, channels)`.
        labels: `(N,)`, or None.
        files: Contents of the N files that they were decoded from, or None.
        words: What they are, for the model card.
        are_random: Whether they are noise and no photographs.
    """

    images: np.ndarray
    labels: np.ndarray | None
    files: list | None
    words: str
    are_random: bool = False

    def calibration(self):
        """Batches of one photograph each, from which int8 learns its ranges."""
        if self.are_random:
            raise CannotDoError("The ranges of int8 come from real images: pass `photographs`.")
        return [image[np.newaxis] for image in self.images[:CALIBRATION]]


def sample(photographs, labels, image_shape, embed_bytes):
    """The `Sample` of what the caller passed.

    Args:
        photographs: N paths, an array `(N, *image_shape)`, or None.
        labels: `(N,)`, or None.
        image_shape: `(height, width, channels)`.
        embed_bytes: Whether the model takes values from 0 to 255, as files decode to.

    Raises:
        ValueError: for photographs and labels that do not fit.
    """
    if photographs is None:
        images = np.random.default_rng(0).uniform(0, 255 if embed_bytes else 1, (NUM_RANDOM, *image_shape))
        words = f"{NUM_RANDOM} random images, for no photographs were given"
        return Sample(images.astype(np.float32), _labels(labels, 0), None, words, are_random=True)
    if not len(photographs):
        raise ValueError("`photographs` must be paths or an array. Received: none at all.")
    files = None
    if isinstance(photographs[0], (str, bytes, os.PathLike)):
        if not embed_bytes:
            raise ValueError(
                "`photographs` must be an array with embed_bytes=False. Received: paths, and images of files go from 0 "
                "to 255."
            )
        paths = [Path(os.fsdecode(path)) for path in photographs]
        files = [path.read_bytes() for path in paths]
        photographs = [_decoded(path, contents, image_shape) for path, contents in zip(paths, files, strict=True)]
    images = np.asarray(photographs, np.float32)
    if images.shape[1:] != tuple(image_shape):
        raise ValueError(
            f"`photographs` must be paths or an array (N, {', '.join(map(str, image_shape))}). Received: an array of "
            f"shape {images.shape}."
        )
    return Sample(images, _labels(labels, len(images)), files, f"{len(images)} photographs")


def _decoded(path, contents, image_shape):
    from keras_epos.data._images import decode_and_resize

    *size, channels = image_shape
    try:
        return keras.ops.convert_to_numpy(decode_and_resize(contents, tuple(size), channels=channels))
    except Exception as error:
        raise ValueError(
            f"`photographs` must be readable images. Received: {str(path)!r}, which gives {type(error).__name__}: "
            f"{error} `keras_epos.data.unreadable(paths)` finds all such files."
        ) from error


def _labels(labels, number):
    if labels is not None and len(labels) != number:
        raise ValueError(
            f"`labels` must be one for each photograph. Received: {len(labels)} labels, {number} photographs."
        )
    return None if labels is None else np.asarray(labels)
