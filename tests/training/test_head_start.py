"""The head that starts as principal directions: what the untrained model then retrieves, and what is refused."""

import keras
import numpy as np
import pytest

import keras_epos
from keras_epos._linear_probe import linear_probe
from keras_epos.training import start_head

FEATURES = 6


def model_of(dim, **arguments):
    backbone = keras.Sequential([keras.Input((4,)), keras.layers.Dense(FEATURES, activation="relu")])
    return keras_epos.EmbeddingModel(backbone, dim, **arguments)


def images(count=40):
    return np.random.default_rng(0).normal(1, 1, (count, 4)).astype("float32")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


def test_embeddings_of_all_dimensions_have_the_cosines_of_the_features():
    model, given = model_of(FEATURES), images()
    features = np.asarray(keras.ops.convert_to_numpy(model.backbone(given)), "float64")
    start_head(model, given)
    expected = unit(features)
    found = model.predict(given, verbose=0)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-4)


def test_fewer_dimensions_keep_the_directions_in_which_features_are_longest():
    model, given = model_of(2, normalize=False), images()
    features = np.asarray(keras.ops.convert_to_numpy(model.backbone(given)), "float64")
    start_head(model, given, batch_size=7)
    left, values, _ = np.linalg.svd(features, full_matrices=False)
    expected = left[:, :2] * values[:2]
    np.testing.assert_allclose(np.abs(model.predict(given, verbose=0)), np.abs(expected), atol=1e-4)


def test_batches_with_labels_give_the_same_head():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return images()[index * 10 : index * 10 + 10], np.arange(10)

    array, batches = model_of(2), model_of(2)
    batches.backbone.set_weights(array.backbone.get_weights())
    start_head(array, images())
    start_head(batches, Batches())
    for one, other in zip(array.embedding.get_weights(), batches.embedding.get_weights(), strict=True):
        np.testing.assert_allclose(np.abs(one), np.abs(other), atol=1e-4)


def test_with_labels_it_is_the_linear_probe():
    model, given, labels = model_of(3, normalize=False), images(), np.arange(40) % 4
    features = keras.ops.convert_to_numpy(model.backbone(given))
    start_head(model, given, labels=labels)
    expected = linear_probe(features, labels, 3)(features)
    np.testing.assert_allclose(model.predict(given, verbose=0), expected, atol=1e-4)
    with pytest.raises(
        ValueError, match=r"`labels` must have one entry for each of 40 images. Received: shape \(39,\)"
    ):
        start_head(model, given, labels=labels[:39])
    with pytest.raises(ValueError, match=r"`images` must have one label each, of two classes at least"):
        start_head(model, given, labels=labels * 0)


def test_what_cannot_be_a_start_is_refused():
    broken = model_of(2)
    broken.backbone.layers[-1].bias.assign(np.full(FEATURES, np.inf))
    with pytest.raises(ValueError, match=r"at most as many dimensions .* Received: 7 dimensions, 6 features"):
        start_head(model_of(7), images())
    with pytest.raises(ValueError, match=r"must be two at least. Received: 1"):
        start_head(model_of(2), images(1))
    with pytest.raises(ValueError, match="must have finite features"):
        start_head(broken, images())
    with pytest.raises(ValueError, match="must be an `EmbeddingModel` that is built"):
        start_head(keras.Sequential([keras.layers.Dense(2)]), images())
