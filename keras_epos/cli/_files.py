"""What commands are given: models, folders and lists of images; and files that are written whole or not at all."""

import os
import secrets
from pathlib import Path

import click
import keras

from keras_epos.data.datasets import image_folder
from keras_epos.data.datasets._image_folder import image_files
from keras_epos.serving._export import _input_shape

MODEL = click.Path(exists=True, dir_okay=False, path_type=Path)
SOURCE = click.Path(exists=True, path_type=Path)


def load_model(path, name="MODEL"):
    """A model from its `.keras` file.

    Raises:
        ValueError: If it is none.
    """
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # of many kinds, from inside of Keras
        raise ValueError(f"{name} must be a .keras file that can be loaded. Received: {path}. {error}") from error


def image_size_of(model, image_size):
    """The side, or `(height, width)`, of the images that a model takes: what was asked for, or what it says."""
    shape, _ = _input_shape(model)
    if image_size:
        return image_size
    if not shape or len(shape) != 4 or None in shape[1:3]:
        raise ValueError(
            f"--image-size must be given, since the model takes images of any size: {shape}. Pass the side in pixels "
            "that it was validated with."
        )
    return shape[1:3]


def images_in(source):
    """Paths of the images of a folder, at any depth, or of a text file with one path a line."""
    if source.is_dir():
        paths = image_files(source)
    else:
        try:
            lines = source.read_text().splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(
                f"SOURCE must be a folder, or a text file with one path a line. Received: {source}"
            ) from error
        paths = [line for line in lines if line.strip()]
    if not paths:
        raise ValueError(f"SOURCE must hold images. Received: {source}, in which there are none.")
    return paths


def labeled_images(folder):
    """All images of `folder/<class>/`, as a `Split`."""
    if not folder.is_dir():
        raise ValueError(f"FOLDER must be a folder that holds one folder a class. Received: {folder}, a file.")
    return image_folder(folder, test_classes=0).train


def replace(path, write):
    """Let `write(path)` write a file beside its place, and then rename it: it appears whole or not at all."""
    path = Path(path)
    beside = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    try:
        write(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
