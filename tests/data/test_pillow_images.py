"""Photographs without TensorFlow: the same pictures, the same distribution of crops."""

import io
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_epos.data import _images as images
from keras_epos.data import _pillow_images as pillow_images
from keras_epos.data import _tensorflow_images as tensorflow_images
from keras_epos.data import random_crop, random_flip, unreadable

RNG = np.random.default_rng(0)
SMOOTH = Image.fromarray(RNG.integers(0, 256, (8, 10, 3), np.uint8)).resize((90, 60), Image.Resampling.BICUBIC)


@pytest.fixture(autouse=True)
def pillow(monkeypatch):
    """What JAX and PyTorch have."""
    monkeypatch.setattr(images, "_engine", lambda: pillow_images)


@pytest.fixture
def paths(tmp_path):
    for number in range(7):
        SMOOTH.rotate(30 * number).save(tmp_path / f"ä{number}.png")
    return [str(tmp_path / f"ä{number}.png") for number in range(7)]


@pytest.mark.backend("tensorflow", reason="compares with TensorFlow")
@pytest.mark.parametrize(("form", "exact", "resized"), [("PNG", 0, 0.01), ("JPEG", 8, 4)])
def test_equals_the_tensorflow_path(form, exact, resized):
    out = io.BytesIO()
    SMOOTH.save(out, form)
    contents = out.getvalue()
    for channels in (1, 3):
        own = pillow_images.decode(contents, channels, 10**6)
        other = tensorflow_images.decode(contents, channels, 10**6).numpy()
        np.testing.assert_allclose(own.astype(int), other, rtol=0, atol=exact)
        for size in (60, (60, 90), (17, 31), (96, 140), (5, 120)):
            found = pillow_images.resize(own, size)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, tensorflow_images.resize(other, size), rtol=0, atol=resized)


def test_load_image_takes_paths_bytes_and_seeds(paths, tmp_path):
    contents = Path(paths[3]).read_bytes()
    load = images.image_loader(20)
    for element in (paths[3], os.fsencode(paths[3]), contents):
        np.testing.assert_array_equal(load(element), images.decode_and_resize(contents, 20))
    load = images.image_loader(20, augment="crop_flip")
    seed = np.array([1, -2], np.int32)
    np.testing.assert_array_equal(load(paths[0], seed=seed), load(paths[0], seed=seed))
    assert not np.array_equal(load(paths[0], seed=seed), load(paths[0], seed=seed[::-1]))
    assert not np.array_equal(load(paths[0]), load(paths[0]))
    keras.utils.set_random_seed(3)
    first = load(paths[0])
    keras.utils.set_random_seed(3)
    np.testing.assert_array_equal(first, load(paths[0]))
    layer = keras.layers.RandomBrightness((0.5, 0.5), value_range=(0, 255), seed=1)
    brighter = images.image_loader(20, layers=[layer])(paths[0])
    np.testing.assert_allclose(brighter, np.clip(images.image_loader(20)(paths[0]) + 127.5, 0, 255), atol=1e-3)
    with pytest.raises(
        ValueError, match=r"`image_loader` must be given the path of a file, or the bytes of one\. Received"
    ):
        load(np.zeros((4, 4, 3)))


@pytest.mark.backend("tensorflow", reason="compares with TensorFlow")
def test_crops_and_flips_have_the_distribution_of_tensorflow():
    """Height, width, place and side of 400 crops each, compared by their mean and their quartiles."""
    image = np.stack([*np.meshgrid(np.arange(120), np.arange(100), indexing="ij"), np.zeros((120, 100))], -1)
    image = image.astype(np.uint8)

    def boxes(engine):
        found = []
        for number in range(400):
            seed = np.array([number, 7], np.int32)
            piece = np.asarray(engine.flip(engine.crop(image, seed, (0.1, 0.6), (0.5, 2)), seed))
            found.append([*piece.shape[:2], piece[0, 0, 0], piece[..., 1].min(), piece[0, 0, 1] > piece[0, -1, 1]])
        return np.array(found, float)

    own, other = boxes(pillow_images), boxes(tensorflow_images)
    error = 4 * np.sqrt((own.var(0) + other.var(0)) / 400)
    assert (np.abs(own.mean(0) - other.mean(0)) < error).all()
    np.testing.assert_allclose(*(np.quantile(b[:, :4], (0, 0.25, 0.5, 0.75, 1), axis=0) for b in (own, other)), atol=9)


def test_image_batches_are_a_py_dataset_in_order(paths):
    batches = images.image_batches(paths, 8, batch_size=3, labels=np.arange(7) + 2**53)
    assert isinstance(batches, keras.utils.PyDataset)
    assert len(batches) == 3
    x, y = (np.concatenate(part) for part in zip(*batches, strict=True))
    np.testing.assert_array_equal(x, [images.image_loader(8)(path) for path in paths])
    assert y.tolist() == list(range(2**53, 2**53 + 7))
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    np.testing.assert_array_equal(model.predict(images.image_batches(paths, 8, 2), verbose=0), x.reshape(7, -1))
    arrays = images.image_batches(x, 8, load=lambda image: image)
    np.testing.assert_array_equal(np.concatenate(list(arrays)), x)


def test_unreadable_images_are_named_and_found(paths):
    Path(paths[2]).write_bytes(b"<html>not found</html>")
    os.truncate(paths[5], 900)
    for load in (random_crop(), random_flip()):
        assert load(np.zeros((9, 9, 3), np.uint8), seed=(1, 2)).ndim == 3
    with pytest.raises(ValueError, match=r"ä2\.png', which gives .*`keras_epos\.data\.unreadable\(paths\)` finds all"):
        list(images.image_batches(paths, 8))
    bad = unreadable([*paths, "nowhere.jpg"])
    assert list(bad) == [2, 5, 7]
    assert "a JPEG, PNG, GIF, BMP or WebP file" in bad[2]
    assert "nowhere.jpg" in bad[7]


PROGRAM = """
import sys
sys.modules["tensorflow"] = None
import numpy as np, keras_epos
load = keras_epos.data.image_loader(12, augment="crop_flip")
assert load(sys.argv[1], seed=np.array([1, 2], np.int32)).shape == (12, 12, 3)
(batch,) = keras_epos.data.image_batches(sys.argv[1:], 12)
assert batch.shape == (7, 12, 12, 3) and batch.dtype == np.float32
"""


def test_other_backends_need_no_tensorflow(paths):
    pytest.importorskip("jax")
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", PROGRAM, *paths], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
