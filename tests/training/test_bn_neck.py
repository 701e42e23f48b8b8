"""The neck between two outputs: what each is, its losses, and which is the embedding of a model in use."""

import keras
import numpy as np
import pytest

import keras_epos
from keras_epos import BNNeckModel, CenterLoss, FrozenBaseline, NormalizedSoftmaxLoss, RecallAtK, TripletLoss
from keras_epos.training import start_head

RNG = np.random.default_rng(0)
LABELS = np.arange(48) % 4
INPUTS = (RNG.normal(size=(48, 6)) + 3 * RNG.normal(size=(4, 6))[LABELS]).astype("float32")


def backbone():
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(7, activation="relu")])


def compiled(loss_weights=None, dim=5, built=True, **arguments):
    keras.utils.set_random_seed(0)
    model = BNNeckModel(backbone() if built else keras.Sequential([keras.layers.Dense(7)]), dim, **arguments)
    on_features = keras_epos.WeightedSum({"triplets": TripletLoss(), "centers": CenterLoss(4)}, {"centers": 0.01})
    model.compile(
        keras.optimizers.Adam(1e-2),
        loss={"features": on_features, "embedding": NormalizedSoftmaxLoss(4, label_smoothing=0.1)},
        loss_weights=loss_weights,
        backbone_optimizer=keras.optimizers.SGD(0.0),
        run_eagerly=True,
    )
    return model


def fit(model, targets=LABELS, epochs=1, **arguments):
    return model.fit(INPUTS, targets, batch_size=24, epochs=epochs, shuffle=False, verbose=0, **arguments).history


def numpy(value):
    return np.array(keras.ops.convert_to_numpy(value))


@pytest.mark.parametrize("policy", [None, "mixed_bfloat16"])
def test_the_outputs_are_before_and_behind_the_neck(policy):
    model = BNNeckModel(backbone(), 5, dtype=policy)
    model.neck.gamma.assign(np.arange(1.0, 6))
    model.neck.moving_mean.assign(np.arange(5) / 5)
    model.neck.moving_variance.assign(np.arange(1, 6) / 2)
    found = model.predict(INPUTS, verbose=0)
    features = numpy(keras.ops.relu(model.backbone.layers[0](INPUTS))) @ numpy(model.embedding.kernel)
    expected = (features - np.arange(5) / 5) / np.sqrt(np.arange(1, 6) / 2 + 1e-3) * np.arange(1.0, 6)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    for name, rows in (("features", features), ("embedding", expected)):
        assert found[name].dtype == "float32"
        np.testing.assert_allclose(found[name], rows, atol=1e-5 if policy is None else 0.3)
    # No shift: what is at the mean of the features stays at the origin.
    assert [weight.name for weight in model.neck.trainable_weights] == ["gamma"]


@pytest.mark.backend("tensorflow", "torch", reason="the same code, slow to compile")
def test_each_output_has_its_loss_and_labels_that_come_once_are_those_of_both():
    once, by_output = compiled({"features": 2.0, "embedding": 0.5}), compiled({"features": 2.0, "embedding": 0.5})
    logs = fit(once, epochs=2)
    expected = fit(by_output, {"features": LABELS, "embedding": LABELS}, epochs=2)
    assert logs == expected
    assert {"features_triplets", "features_centers", "embedding_loss", "embedding_active_anchors"} <= set(logs)
    for total, one, other in zip(logs["loss"], logs["features_loss"], logs["embedding_loss"], strict=True):
        assert total == pytest.approx(2 * one + 0.5 * other, rel=1e-5)
    assert logs["embedding_loss"][1] < logs["embedding_loss"][0]
    scores = once.evaluate(INPUTS, LABELS, verbose=0, return_dict=True)
    assert np.isfinite(scores["features_loss"])


def test_weights_of_samples_reach_both_losses():
    weight = np.where(LABELS == 0, 2.0, 0.5).astype("float32")
    model, other = compiled(), compiled()
    logs = fit(model, sample_weight=weight)
    expected = fit(
        other, dict.fromkeys(model.output_names, LABELS), sample_weight=dict.fromkeys(model.output_names, weight)
    )
    assert logs == expected
    assert logs["loss"] != fit(compiled())["loss"]


@pytest.mark.parametrize("built", [True, False])
def test_the_head_has_its_own_optimizer_whenever_the_model_is_built(built):
    model = compiled(built=built)
    fit(model)
    before = [numpy(weight) for weight in model.backbone.weights]
    gamma = numpy(model.neck.gamma)
    fit(model)
    for one, other in zip(before, model.backbone.weights, strict=True):
        np.testing.assert_array_equal(one, numpy(other))
    assert (numpy(model.neck.gamma) != gamma).all()


def test_the_embedding_is_what_users_of_a_model_take(capsys):
    model = compiled()
    recall = RecallAtK(INPUTS, LABELS, k=(1,))
    fit(model, callbacks=[recall])
    expected = keras_epos.retrieval.evaluate(model.predict(INPUTS, verbose=0)["embedding"], LABELS, k=(1,))
    assert recall.evaluate(model) == expected
    assert recall.evaluate(model) != RecallAtK(INPUTS, LABELS, k=(1,), output="features").evaluate(model)
    # Also of any other model that calls one of its outputs so.
    inputs = keras.Input((6,))
    outputs = {"scores": keras.layers.Dense(3)(inputs), "embedding": model(inputs)["embedding"]}
    assert recall.evaluate(keras.Model(inputs, outputs)) == expected
    with pytest.raises(ValueError, match="`output` must say which output"):
        recall.evaluate(keras.Model(inputs, {"scores": outputs["scores"], "rows": outputs["embedding"]}))


@pytest.mark.backend("tensorflow", reason="SavedModels are TensorFlow's")
def test_what_is_served_is_the_embedding(tmp_path):
    import tensorflow as tf

    model = compiled()
    fit(model)
    path = keras_epos.export_savedmodel(model, tmp_path / "served")
    served = tf.saved_model.load(str(path)).signatures["embed"]
    (name,) = served.structured_input_signature[1]
    found = served(**{name: INPUTS})
    assert set(found) == {"embedding"}
    np.testing.assert_allclose(found["embedding"], model.predict(INPUTS, verbose=0)["embedding"], atol=1e-5)


def test_it_is_saved_and_resumed(tmp_path):
    model = compiled(freeze_batch_norm=True)
    model.neck.trainable = False
    model.compile("sgd", loss=model.loss, run_eagerly=True)
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is BNNeckModel
    assert loaded.freeze_batch_norm
    assert not loaded.neck.trainable
    for one, other in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(numpy(one), numpy(other))
    assert fit(loaded) == fit(model)


def test_a_guard_and_a_start_take_it_like_any_other():
    model = compiled(dim=7)
    start_head(model, INPUTS)
    guard = FrozenBaseline(INPUTS, LABELS, train=(INPUTS, LABELS), k=(1,), restore_best=True)
    fit(model, callbacks=[guard])
    # The neck is no more than a scale at the start.
    assert guard.baseline["start"] == guard.baseline["backbone"]
    assert guard.evaluate(model)["recall@1"] == max(
        values["recall@1"] for values in [*guard.baseline.values(), *guard.history]
    )


def test_a_head_that_is_set_is_seen_through_a_neck_that_was_trained():
    model = keras_epos.BNNeckModel(keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)]), 4)
    model.neck.set_weights([np.array([0.1, 1, 2, -1]), np.array([3.0, 0, -1, 1]), np.array([0.01, 1, 5, 2])])
    rows = np.random.default_rng(0).normal(size=(12, 6)).astype("float32")
    keras_epos.training.start_head(model, rows)
    features, embedding = (model.predict(rows, verbose=0)[name] for name in ("features", "embedding"))
    np.testing.assert_allclose(embedding, features / np.linalg.norm(features, axis=1, keepdims=True), atol=1e-5)


def test_a_loss_for_both_outputs_is_refused():
    with pytest.raises(ValueError, match="must be a dictionary of output to loss"):
        BNNeckModel(backbone(), 5).compile("sgd", loss="triplet")
