"""Any graph of layers with losses that have weights of their own: one output or several."""

import keras
import numpy as np
import pytest

import keras_epos
from keras_epos import ArcFaceLoss, CrossBatchMemory, EmbeddingModel, MetricLearningModel, TripletLoss

INPUTS = np.random.default_rng(0).normal(size=(48, 6)).astype("float32")
LABELS = np.arange(48) % 4


def two_heads(as_list=False):
    """The base of re-identification: triplets on the features, classes on what a BatchNormalization made of them."""
    inputs = keras.Input((6,))
    features = keras.layers.Dense(5, name="features")(inputs)
    neck = keras.layers.BatchNormalization(name="neck")(keras.layers.Dense(3)(features))
    return MetricLearningModel(inputs, [features, neck] if as_list else {"features": features, "neck": neck})


def fit(model, epochs=1):
    targets = dict.fromkeys(model.output_dims, LABELS)
    return model.fit(INPUTS, targets, batch_size=48, epochs=epochs, shuffle=False, verbose=0).history


def assert_equal(variables, others):
    for one, other in zip(variables, others, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other))


def test_two_heads_are_trained_saved_and_resumed(tmp_path):
    keras.utils.set_random_seed(0)
    model = two_heads()
    memory = CrossBatchMemory(TripletLoss(negatives="hard"), 64, memory_positives=False)
    proxies = ArcFaceLoss(4, scale=8.0)
    optimizers = {"optimizer": keras.optimizers.Adam(1e-2), "loss_optimizer": keras.optimizers.Adam(1e-1)}
    model.compile(**optimizers, loss={"features": memory, "neck": proxies})
    history = fit(model, epochs=3)
    assert history["neck_loss"][-1] < history["neck_loss"][0]
    assert {"features_active_anchors", "features_memory_filled", "neck_active_anchors"} <= set(history)
    # Each loss was adopted with the dimension of its own output.
    assert any(proxies.proxies is weight for weight in model.trainable_weights)
    assert proxies.proxies.shape == (4, 3)
    assert (64, 5) in [tuple(weight.shape) for weight in model.non_trainable_weights]

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, MetricLearningModel)
    assert_equal(model.weights, loaded.weights)
    assert_equal(model.optimizer.variables, loaded.optimizer.variables)
    assert_equal([proxies.proxies], [loaded.loss["neck"].proxies])
    assert fit(loaded)["loss"] == pytest.approx(fit(model)["loss"], rel=1e-5)
    # What is served has no proxies.
    assert keras.Model(model.input, model.output["features"]).count_params() == 6 * 5 + 5


def test_the_example_in_the_documentation_runs():
    """On another backbone, with smaller images."""
    lines = [line[8:] for line in MetricLearningModel.__doc__.splitlines() if line.startswith("        ")]
    program = "\n".join(lines[: lines.index('model.fit(images, {"features": labels, "neck": labels})') + 1])
    for full, small in (
        ("(256, 128, 3)", "(4, 4, 3)"),
        ('keras.applications.ResNet50(include_top=False, weights=None, pooling="avg")', "backbone"),
        ("751", "4"),
    ):
        assert full in program
        program = program.replace(full, small)
    names = {
        "keras": keras,
        "keras_epos": keras_epos,
        "backbone": keras.layers.GlobalAveragePooling2D(),
        "images": np.random.default_rng(0).normal(size=(8, 4, 4, 3)).astype("float32"),
        "labels": LABELS[:8],
    }
    exec(program, names)
    assert names["model"].loss["neck"].proxies.shape == (4, 3)


def test_one_output_of_a_finished_model():
    finished = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5), keras.layers.Dense(4)])
    model = MetricLearningModel(finished.inputs, finished.outputs)
    model.compile("sgd", loss=ArcFaceLoss(4))
    assert "active_anchors" in model.fit(INPUTS, LABELS, verbose=0).history
    assert model.loss.proxies.shape == (4, 4)
    # A graph must not turn the other model of the library into one.
    assert EmbeddingModel(finished, 3)(INPUTS).shape == (48, 3)


def test_a_subclassed_model_is_called_on_an_input():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(4)

        def call(self, inputs):
            return self.dense(inputs)

    inputs = keras.Input((6,))
    model = MetricLearningModel(inputs, Own()(inputs))
    model.compile("sgd", loss=ArcFaceLoss(4))
    model.fit(INPUTS, LABELS, verbose=0)
    assert len(model.trainable_weights) == 3


def test_a_head_may_have_a_loss_of_keras_or_none():
    model = two_heads()
    model.compile("sgd", loss={"features": ArcFaceLoss(4)})
    assert set(fit(model)) >= {"loss", "features_active_anchors"}
    model = two_heads(as_list=True)
    model.compile("sgd", loss={"features": "triplet", "neck": "mse"})
    targets = {"features": LABELS, "neck": np.zeros((48, 3))}
    history = model.fit(INPUTS, targets, verbose=0).history
    assert "features_active_anchors" in history
    assert "neck_active_anchors" not in history


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (TripletLoss(), "must be a dictionary of output to loss .*'features', 'neck'"),
        ({"feature": TripletLoss()}, "must name outputs.*Did you mean 'features'"),
        ([TripletLoss()], "one loss for each output"),
        (dict.fromkeys(["features", "neck"], TripletLoss()), "an object of its own"),
    ],
)
def test_losses_that_fit_no_output_are_refused(loss, message):
    with pytest.raises(ValueError, match=message):
        two_heads().compile("sgd", loss=loss)


def test_two_losses_for_one_output_are_refused():
    model = EmbeddingModel(keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)]), 4)
    with pytest.raises(ValueError, match=r"keras_epos\.WeightedSum"):
        model.compile("sgd", loss=[TripletLoss(), keras_epos.ContrastiveLoss()])
