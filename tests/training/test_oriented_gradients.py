"""OrientedGradients: what the features are, and that no scale, dtype or flat image upsets them."""

import keras
import numpy as np
import pytest

import keras_epos


def features(images, **settings):
    layer = keras_epos.OrientedGradients(**settings)
    return keras.ops.convert_to_numpy(layer(images))


def test_stripes_vote_for_their_direction_and_light_changes_nothing():
    upright = np.tile(np.sin(np.arange(32)) * 60 + 120, (32, 1))
    images = np.stack([upright, upright.T])[..., None].repeat(3, axis=-1).astype("float32")
    found = features(images)
    assert found.shape == (2, 4 * 4 * 9)
    directions = found.reshape(2, 4 * 4, 9).mean(axis=1).argmax(axis=-1)
    assert directions[0] == 0
    assert directions[1] in (4, 5)
    np.testing.assert_allclose(features(images / 255), found, atol=1e-3)
    np.testing.assert_allclose(features(images.astype("uint8").astype("float32")), found, atol=0.1)


def test_flat_images_and_half_floats_give_finite_features():
    flat = np.stack([np.zeros((16, 16, 1)), np.full((16, 16, 1), 255)]).astype("float32")
    np.testing.assert_allclose(features(flat), 0, atol=1e-2)
    noise = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype("float32")
    half = features(noise, dtype="mixed_float16")
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, features(noise), atol=2e-3)


def test_it_comes_back_from_its_config():
    layer = keras_epos.OrientedGradients(cell_size=4, dtype="mixed_float16", name="edges")
    again = keras_epos.OrientedGradients.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.cell_size == 4


def test_wrong_sizes_are_named():
    with pytest.raises(ValueError, match="cell_size=0"):
        keras_epos.OrientedGradients(cell_size=0)
    for shape in ((None, None, 3), (4, 16, 3)):
        with pytest.raises(ValueError, match="of a fixed size of at least `cell_size`=8"):
            keras_epos.OrientedGradients()(keras.Input(shape))
