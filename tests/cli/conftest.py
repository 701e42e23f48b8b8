"""Photographs, a model and a gallery, made once for all tests of the command line."""

import shutil

import keras
import numpy as np
import pytest
from command_line import SIZE, run

import keras_epos


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Six classes of ten images, each of a color of its own, and one that is damaged."""
    root = tmp_path_factory.mktemp("photographs")
    generator = np.random.default_rng(0)
    for place in range(6):
        (root / f"class {place}").mkdir()
        color = generator.integers(60, 200, 3)
        for number in range(10):
            image = color + generator.integers(-50, 50, (20, 24, 3))
            keras.utils.save_img(root / f"class {place}" / f"{number}.png", image, scale=False)
    (root / "class 3" / "damaged.jpg").write_text("no image")
    return root


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The file of a model that knows its image size."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.AveragePooling2D(4), keras.layers.Flatten()]
    made = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((SIZE, SIZE, 3)), *layers]), 8)
    path = tmp_path_factory.mktemp("model") / "model.keras"
    made.save(path)
    return path


@pytest.fixture(scope="session")
def kept_gallery(folder, model, tmp_path_factory):
    """A gallery of the photographs, to be read only."""
    path = tmp_path_factory.mktemp("gallery") / "things"
    assert "60 images added, 60 in all" in run("index", model, folder, "-o", path).output
    return path


@pytest.fixture
def gallery(kept_gallery, tmp_path):
    """A copy of the gallery, to be changed."""
    shutil.copytree(kept_gallery, tmp_path / "things")
    shutil.copy(f"{kept_gallery}.unreadable.txt", tmp_path)
    return tmp_path / "things"
