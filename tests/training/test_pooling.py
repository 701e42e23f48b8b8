"""GeM against NumPy in float64, and `pooling` of an EmbeddingModel."""

import keras
import numpy as np
import pytest

from keras_epos import EmbeddingModel
from keras_epos.training import GeneralizedMean

RNG = np.random.default_rng(0)


def gem(values, p, epsilon=1e-6):
    values = np.maximum(values.astype("float64"), epsilon)
    return np.mean(values**p, axis=tuple(range(1, values.ndim - 1))) ** (1 / p)


@pytest.mark.parametrize("p", [0.5, 1.0, 3.0, 6.0])
@pytest.mark.parametrize("shape", [(3, 5, 4), (3, 2, 3, 4)])
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e15])
def test_gem_is_the_generalized_mean(p, shape, scale):
    values = (scale * RNG.normal(size=shape)).astype("float32")
    found = keras.ops.convert_to_numpy(GeneralizedMean(p)(values))
    np.testing.assert_allclose(found, gem(values, p), rtol=2e-4)


def test_gem_of_equal_and_of_negative_values():
    found = keras.ops.convert_to_numpy(GeneralizedMean()(np.full((1, 4, 2), 7.0, "float32")))
    np.testing.assert_allclose(found, 7, rtol=1e-6)
    found = keras.ops.convert_to_numpy(GeneralizedMean()(np.full((1, 4, 2), -7.0, "float32")))
    np.testing.assert_allclose(found, 1e-6, rtol=1e-5)


@pytest.mark.parametrize("arguments", [{"p": 0}, {"p": -1}, {"epsilon": 0}])
def test_wrong_arguments_of_gem(arguments):
    with pytest.raises(ValueError, match="must be"):
        GeneralizedMean(**arguments)


def maps():
    return keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(3, 2)])


def test_the_exponent_is_trained_and_saved(tmp_path):
    images, labels = RNG.normal(size=(16, 4, 4, 1)).astype("float32"), np.arange(16) % 4
    model = EmbeddingModel(maps(), 2, pooling="gem")
    model.compile(keras.optimizers.SGD(1.0), loss="triplet")
    model.fit(images, labels, batch_size=16, verbose=0)
    assert abs(float(keras.ops.convert_to_numpy(model.pooling.exponent)) - 3) > 1e-5
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))


@pytest.mark.parametrize(
    ("backbone", "pooling", "message"),
    [
        (maps, "gemm", "Did you mean 'gem'"),
        (maps, "class", "known of keras_hub's backbones only"),
        (lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]), "gem", "must be None for a backbone"),
    ],
)
def test_poolings_that_cannot_be(backbone, pooling, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingModel(backbone(), 2, pooling=pooling)


def test_a_model_with_gem_is_resumed_as_it_was(tmp_path):
    """The exponent stands behind the head in the order of the weights, by which the optimizer's state is saved."""
    model = EmbeddingModel(maps(), 2, pooling="gem")
    model.compile("adam", loss="triplet", run_eagerly=True)
    images, labels = RNG.normal(size=(8, 4, 4, 1)).astype("float32"), np.arange(8) % 2
    model.fit(images, labels, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for one, other in zip(
        [*model.weights, *model.optimizer.variables], [*loaded.weights, *loaded.optimizer.variables], strict=True
    ):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other))


@pytest.mark.parametrize("policy", [None, "mixed_bfloat16"])
@pytest.mark.parametrize("pooling", ["mean", "gem"])
def test_padding_does_not_count_and_nothing_but_padding_is_finite(pooling, policy):
    def model_of(length):
        ids = keras.Input((length,), dtype="int32")
        backbone = keras.Model(ids, keras.layers.Embedding(9, 3, mask_zero=True)(ids))
        return EmbeddingModel(backbone, 2, pooling=pooling, dtype=policy, normalize=False)

    padded, bare = model_of(5), model_of(3)
    table = RNG.uniform(0.5, 1, size=(9, 3))
    table[0] = 1e30
    padded.backbone.layers[-1].embeddings.assign(table)
    bare.set_weights(padded.get_weights())
    found = keras.ops.convert_to_numpy(padded(np.array([[1, 2, 3, 0, 0], [0, 0, 0, 0, 0]])))
    expected = keras.ops.convert_to_numpy(bare(np.array([[1, 2, 3]])))
    np.testing.assert_allclose(found[0], expected[0], atol=1e-6 if policy is None else 0.02)
    assert np.isfinite(found).all()
