import json
import subprocess
import sys
import types

import keras
import numpy as np
import pytest

import keras_epos
from keras_epos import EasyPositiveTripletLoss, EmbeddingModel, MarginLoss, TripletLoss

IMAGES = np.random.default_rng(0).uniform(0, 255, (48, 8, 8, 3)).astype("float32")
LABELS = np.arange(48) % 4


def maps_backbone():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(6, 3, name="first"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ],
        name="trunk",
    )


def values(weights):
    return [keras.ops.convert_to_numpy(weight) for weight in weights]


def fit(model, epochs=1):
    return model.fit(IMAGES, LABELS, batch_size=24, epochs=epochs, shuffle=False, verbose=0).history


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_embeddings_are_unit_and_float32_under_every_policy(policy):
    model = EmbeddingModel(maps_backbone(), 5, dtype=policy)
    embeddings = model(IMAGES)
    assert keras.backend.standardize_dtype(embeddings.dtype) == "float32"
    norms = np.linalg.norm(keras.ops.convert_to_numpy(embeddings), axis=-1)
    np.testing.assert_allclose(norms, 1, atol=1e-5)
    half = policy != "float32"
    assert (model.backbone.get_layer("first").compute_dtype != "float32") == half
    assert all(weight.dtype == "float32" for weight in model.weights)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_training_lowers_the_loss(policy):
    keras.utils.set_random_seed(0)
    model = EmbeddingModel(maps_backbone(), 5, dtype=policy)
    model.compile(keras.optimizers.Adam(1e-2), loss=EasyPositiveTripletLoss(average_over="valid"))
    loss = fit(model, epochs=8)["loss"]
    assert loss[-1] < 0.95 * loss[0]


def test_float16_scales_the_loss():
    model = EmbeddingModel(maps_backbone(), 5, dtype="mixed_float16")
    model.compile("adam", loss=EasyPositiveTripletLoss())
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert np.isfinite(fit(model)["loss"][0])


def test_logs_report_what_mining_found():
    keras.utils.set_random_seed(0)
    model = EmbeddingModel(maps_backbone(), 5)
    # Embeddings of an untrained network are alike: no copies are to be suspected here.
    easy = keras_epos.Easy(copies_above=1)
    model.compile(keras.optimizers.SGD(0.0), loss=TripletLoss(positives=easy, negatives="hard"))
    embeddings = model.predict(IMAGES, verbose=0).astype("float64")
    similarity = embeddings @ embeddings.T
    same = LABELS[:, None] == LABELS
    np.fill_diagonal(similarity, -2)
    positive = np.where(same, similarity, -2).max(1)
    negative = np.where(same, -2, similarity).max(1)
    logs = model.evaluate(IMAGES, LABELS, batch_size=48, verbose=0, return_dict=True)
    assert logs["positive_similarity"] == pytest.approx(positive.mean(), abs=1e-4)
    assert logs["negative_similarity"] == pytest.approx(negative.mean(), abs=1e-4)
    assert logs["active_anchors"] == pytest.approx((2 * negative - 2 * positive + 0.2 > 0).mean(), abs=1e-6)


def test_logs_stay_clean_with_another_loss():
    model = EmbeddingModel(maps_backbone(), 5)
    model.compile("sgd", loss="mse")
    assert set(model.fit(IMAGES, np.zeros((48, 5)), verbose=0).history) == {"loss"}


def test_weights_of_the_loss_are_trained_saved_and_resumed(tmp_path):
    keras.utils.set_random_seed(0)
    model = EmbeddingModel(maps_backbone(), 5)
    loss = MarginLoss(learn_boundary="class", num_classes=4, negatives="hard")
    model.compile(keras.optimizers.Adam(1e-2), loss=loss)
    fit(model)
    (layer,) = loss.adopt()
    assert abs(values(layer.weights)[0] - 1.2).min() > 1e-3
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))
    uninterrupted, resumed = fit(model), fit(loaded)
    assert resumed["loss"] == pytest.approx(uninterrupted["loss"], rel=1e-6)
    for one, other in zip(values(model.weights), values(loaded.weights), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_model_built_by_fit_and_compiled_again():
    model = EmbeddingModel(keras.Sequential([keras.layers.Conv2D(6, 3), keras.layers.BatchNormalization()]), 5)
    model.compile("adam", loss=MarginLoss(learn_boundary="global", negatives="hard"))
    fit(model)
    assert sum("boundary" in weight.path for weight in model.trainable_weights) == 1
    model.compile("adam", loss=EasyPositiveTripletLoss())
    fit(model)
    assert not any("boundary" in weight.path for weight in model.trainable_weights)


def test_a_plain_model_trains_with_a_loss_and_refuses_one_with_weights():
    def plain():
        return keras.Sequential([maps_backbone(), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(5)])

    keras.utils.set_random_seed(0)
    model = plain()
    model.compile(keras.optimizers.Adam(1e-2), loss=EasyPositiveTripletLoss(average_over="valid"))
    loss = fit(model, epochs=8)["loss"]
    assert loss[-1] < 0.95 * loss[0]
    model = plain()
    model.compile("adam", loss=MarginLoss(learn_boundary="global", negatives="hard"))
    with pytest.raises(ValueError, match="EmbeddingModel"):
        fit(model)


@pytest.mark.backend("tensorflow", reason="the others do not trace, or trace otherwise")
@pytest.mark.parametrize("separate", [False, True])
def test_a_step_is_traced_once(separate):
    traced = []

    class Counting(EasyPositiveTripletLoss):  # one whose formula a step has once
        def formula(self, *arguments):
            traced.append(1)
            return super().formula(*arguments)

    model = EmbeddingModel(maps_backbone(), 5)
    model.compile("adam", loss=Counting(), backbone_optimizer="adam" if separate else None)
    fit(model, epochs=2)
    assert len(traced) == 1


def test_backbone_optimizer_moves_the_backbone_alone():
    model = EmbeddingModel(maps_backbone(), 5)
    model.compile(keras.optimizers.SGD(0.0), EasyPositiveTripletLoss(), keras.optimizers.SGD(1.0))
    before = values(model.embedding.weights), values([model.backbone.get_layer("first").kernel])
    fit(model)
    after = values(model.embedding.weights), values([model.backbone.get_layer("first").kernel])
    np.testing.assert_array_equal(before[0][0], after[0][0])
    assert abs(before[1][0] - after[1][0]).max() > 1e-4


def test_frozen_batch_norm_stays_as_it_is():
    model = EmbeddingModel(maps_backbone(), 5, freeze_batch_norm=True)
    norm = next(layer for layer in model.backbone.layers if isinstance(layer, keras.layers.BatchNormalization))
    model.compile(keras.optimizers.SGD(1.0), loss=EasyPositiveTripletLoss())
    before = values(norm.weights)
    fit(model)
    for one, other in zip(before, values(norm.weights), strict=True):
        np.testing.assert_array_equal(one, other)


def backbone_of(features):
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, features(inputs))


@pytest.mark.parametrize(
    "features",
    [
        keras.layers.Conv2D(6, 3),
        keras.layers.Reshape((16, 12)),
        keras.layers.Flatten(),
    ],
    ids=["maps", "tokens", "vectors"],
)
def test_features_of_any_rank_are_averaged(features):
    model = EmbeddingModel(backbone_of(features), 5)
    assert model(IMAGES).shape == (48, 5)


def test_backbone_from_a_file_and_back(tmp_path):
    trunk = maps_backbone()
    trunk.save(tmp_path / "trunk.keras")
    model = EmbeddingModel(tmp_path / "trunk.keras", 5)
    np.testing.assert_array_equal(values(model.backbone.weights)[0], values(trunk.weights)[0])


@pytest.mark.backend("tensorflow", "torch", reason="JAX takes long to compile the network")
def test_backbone_by_name_includes_its_preprocessing(monkeypatch, tmp_path):
    real = keras.applications.MobileNetV2

    def without_weights(include_top, pooling):
        return real(include_top=include_top, pooling=pooling, weights=None, alpha=0.35)

    without_weights.__module__ = real.__module__
    monkeypatch.setattr(keras.applications, "MobileNetV2", without_weights)
    model = EmbeddingModel("MobileNetV2", 5)
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    network = next(layer for layer in model.backbone.layers if isinstance(layer, keras.Model))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model.backbone(images)),
        keras.ops.convert_to_numpy(network(images / 127.5 - 1)),
        rtol=1e-4,
        atol=1e-5,
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("NoSuchNet", "keras.applications"),
        (types.SimpleNamespace(), "keras.applications"),
        (backbone_of(lambda inputs: [inputs, inputs]), "one tensor"),
    ],
)
def test_backbones_that_cannot_be(backbone, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingModel(backbone, 5)


PROGRAM = """
import json, sys, keras, numpy, keras_epos
model = keras.saving.load_model(sys.argv[1])
images = numpy.load(sys.argv[2])
found = [
    model.loss.get_config(),
    type(model.optimizer).__name__,
    keras.ops.convert_to_numpy(model.loss.proxies).tolist(),
    model.predict(images, verbose=0).tolist(),
    model.fit(images, numpy.arange(48) % 4, batch_size=24, shuffle=False, verbose=0).history["loss"],
]
print(json.dumps(found))
"""


def test_a_fresh_process_loads_and_goes_on(tmp_path):
    model = EmbeddingModel(maps_backbone(), 5, freeze_batch_norm=True)
    loss = keras_epos.ProxyAnchorLoss(4, margin=0.3)
    model.compile("adam", loss=loss, backbone_optimizer="sgd", loss_optimizer=keras.optimizers.Adam(0.1))
    fit(model)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", IMAGES)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "model.keras"), str(tmp_path / "images.npy")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    config, optimizer, proxies, embeddings, history = json.loads(done.stdout.splitlines()[-1])
    assert config == json.loads(json.dumps(loss.get_config()))
    assert optimizer == "MultiOptimizer"
    np.testing.assert_allclose(proxies, keras.ops.convert_to_numpy(loss.proxies), rtol=1e-6)
    np.testing.assert_allclose(embeddings, model.predict(IMAGES, verbose=0), atol=1e-6)
    assert history == pytest.approx(fit(model)["loss"], rel=1e-5)


def test_losses_by_name():
    assert keras_epos.losses.get("triplet", margin=0.4).margin == 0.4
    model = EmbeddingModel(maps_backbone(), 5)
    model.compile("adam", loss="easy_positive_triplet")
    assert isinstance(model.loss, EasyPositiveTripletLoss)
    with pytest.raises(ValueError, match="multi_similarity"):
        keras_epos.losses.get("tripplet")
