"""Anything in: the same steps for numbers, several inputs, sequences and strings, on every backend that has them."""

import keras
import numpy as np
import pytest

from keras_epos import EmbeddingModel, FrozenBaseline
from keras_epos.data import balanced_batches
from keras_epos.training import start_head

RNG = np.random.default_rng(0)
LABELS = np.arange(36) % 6
NUMBERS = (RNG.normal(size=(36, 5)) + LABELS[:, None]).astype("float32")
IDS = np.where(np.arange(7) < RNG.integers(2, 7, (36, 1)), RNG.integers(1, 20, (36, 7)), 0).astype("int32")
WORDS = ["red", "green", "blue", "cup", "bowl", "plate"]
NAMES = np.array([f"{WORDS[label]} {WORDS[number // 6]}" for number, label in enumerate(LABELS)])


def network(inputs, parts):
    return keras.Model(inputs, keras.layers.Dense(8, activation="relu")(keras.layers.Concatenate()(parts)))


def numbers():
    return keras.Sequential([keras.Input((5,)), keras.layers.Dense(8)]), NUMBERS


def named_inputs():
    inputs = {"shape": keras.Input((5,), name="shape"), "price": keras.Input((1,), name="price")}
    return network(inputs, list(inputs.values())), {"price": NUMBERS[:, :1] ** 2, "shape": NUMBERS}


def inputs_in_order():
    inputs = [keras.Input((5,)), keras.Input((2,))]
    return network(inputs, inputs), (NUMBERS, NUMBERS[:, 3:])


def ids():
    tokens = keras.Input((None,), dtype="int32")
    return keras.Model(tokens, keras.layers.Embedding(20, 8, mask_zero=True)(tokens)), IDS


def series():
    return keras.Sequential([keras.Input((None, 5)), keras.layers.Conv1D(8, 1)]), NUMBERS[:, None] * np.ones((1, 4, 1))


def strings():
    text = keras.layers.TextVectorization(output_mode="multi_hot", vocabulary=WORDS)
    return keras.Sequential([keras.Input((), dtype="string"), text, keras.layers.Dense(8)]), NAMES


ON_TENSORFLOW = pytest.mark.backend("tensorflow", reason="no other backend has strings")
KINDS = [numbers, named_inputs, inputs_in_order, ids, series, pytest.param(strings, marks=ON_TENSORFLOW)]


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_trained_measured_and_embedded(kind, tmp_path):
    backbone, inputs = kind()
    model = EmbeddingModel(backbone, 4)
    start_head(model, inputs)
    model.compile("adam", loss="triplet", run_eagerly=True)
    guard = FrozenBaseline(inputs, LABELS, train=(inputs, LABELS), k=(1,), metrics="recall")
    batches = balanced_batches(inputs, LABELS, 6, 3, seed=0, steps=2)
    logs = model.fit(batches, callbacks=[guard], verbose=0).history
    assert logs["valid_anchors"] == [1]
    assert 0 <= logs["val_recall@1"][0] <= 1
    model.fit(inputs, LABELS, batch_size=36, validation_data=(inputs, LABELS), verbose=0)
    assert np.isfinite(model.evaluate(inputs, LABELS, batch_size=36, verbose=0, return_dict=True)["loss"])
    found = model.predict(inputs, verbose=0)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(
        keras.saving.load_model(tmp_path / "model.keras").predict(inputs, verbose=0), found, atol=1e-6
    )


@ON_TENSORFLOW
def test_strings_of_every_kind_are_the_same():
    model = EmbeddingModel(strings()[0], 4)
    expected = model.predict(NAMES, verbose=0)
    for names in (list(NAMES), np.char.encode(NAMES), NAMES.astype(object)):
        np.testing.assert_array_equal(model.predict(names, verbose=0), expected)
    assert len(np.unique(expected.round(5), axis=0)) > 6
