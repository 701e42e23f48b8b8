"""What is set on a model, its layers or its loss: after compile, in every format that Keras saves, in a copy."""

import shutil

import keras
import numpy as np
import pytest

import keras_epos
from keras_epos import EmbeddingModel, TripletLoss

INPUTS = np.random.default_rng(0).normal(size=(12, 6)).astype("float32")
LABELS = np.arange(12) % 3


def stack():
    layers = [keras.Input((6,)), keras.layers.Dense(5, name="dense"), keras.layers.BatchNormalization(name="norm")]
    return keras.Sequential(layers, name="stack")


def graph():
    inputs = keras.Input((6,))
    return keras.Model(inputs, keras.layers.Dense(4, name="last")(stack()(inputs)), name="graph")


def freeze_a_layer_and_the_embedding(model):
    model.backbone.layers[-1].trainable = False
    model.embedding.trainable = False


def keep_batch_norm_through_two_stages(model):
    model.freeze_batch_norm = True
    model.backbone.trainable = False
    model.compile("adam", loss="triplet")
    model.backbone.trainable = True
    model.compile("adam", loss="triplet")
    model.trainable = False
    model.trainable = True


def adapt_in_low_rank(model):
    model.backbone.trainable = False
    model.embedding.enable_lora(2)
    model.embedding.lora_kernel_b.assign(np.ones((2, 4)))


def quantize(model):
    model.quantize("int8")


def freeze_a_part_of_what_is_trained(model):
    model.trainable = False
    model.embedding.trainable = True


SWITCHES = [
    freeze_a_layer_and_the_embedding,
    freeze_a_part_of_what_is_trained,
    keep_batch_norm_through_two_stages,
    adapt_in_low_rank,
    quantize,
]


def settings(model):
    layers = {
        path: (layer.trainable, layer.dtype_policy.name, getattr(layer, "lora_rank", None))
        for path, layer in model.own_layers().items()
        if layer is not model
    }
    counts = len(model.trainable_variables), len(model.non_trainable_variables)
    return {**layers, "model": model.trainable, "counts": counts, "loss": getattr(model.loss, "margin", None)}


def made(switch):
    keras.utils.set_random_seed(0)
    model = EmbeddingModel(graph(), 4)
    switch(model)
    model.compile("sgd", loss=TripletLoss())
    # A setting of the loss, too, as it is now and not as it was made.
    model.loss.margin = 0.4
    return model


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`", "ignore:Skipping variable loading")
@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: switch.__name__)
def test_every_switch_in_every_format(tmp_path, switch):
    model = made(switch)
    expected, embeddings = settings(model), keras.ops.convert_to_numpy(model(INPUTS))
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    from_config = EmbeddingModel.from_config(model.get_config())
    from_config.load_weights(tmp_path / "model.weights.h5")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for copy in (loaded, from_config):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(copy(INPUTS)), embeddings, atol=1e-6)
    for copy in (loaded, from_config, keras.models.clone_model(model)):
        if copy is not loaded:
            copy.compile("sgd", loss=TripletLoss(0.4))
        assert settings(copy) == expected
    model.compile("sgd", loss=model.loss)
    assert settings(model) == expected


def test_batch_norm_stays_frozen_through_two_stages():
    model = EmbeddingModel(stack(), 4, freeze_batch_norm=True)
    before = [keras.ops.convert_to_numpy(weight) for weight in model.backbone.get_layer("norm").weights]
    model.backbone.trainable = False
    model.compile("sgd", loss=TripletLoss())
    model.backbone.trainable = True
    model.compile("sgd", loss=model.loss)
    model.fit(INPUTS, LABELS, verbose=0)
    assert len(model.trainable_variables) == 4
    for weight, start in zip(model.backbone.get_layer("norm").weights, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), start)


def test_what_only_the_constructor_settles_cannot_be_set():
    model = EmbeddingModel(stack(), 4)
    for name, value in (("embedding_dim", 8), ("normalize", False)):
        with pytest.raises(AttributeError):
            setattr(model, name, value)


def test_files_from_before_still_load(tmp_path):
    """Configurations once held the arguments alone."""
    model = EmbeddingModel(stack(), 4, freeze_batch_norm=True)
    config = {key: value for key, value in model.get_config().items() if key not in ("embedding", "frozen_layers")}
    model.save_weights(tmp_path / "model.weights.h5")
    old = EmbeddingModel.from_config(config)
    old.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(old(INPUTS)), keras.ops.convert_to_numpy(model(INPUTS)))
    assert not old.backbone.get_layer("norm").trainable


def test_a_run_goes_on_with_what_is_frozen(tmp_path):
    class Copy(keras.callbacks.Callback):
        """What a run that is killed here leaves."""

        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                shutil.copytree(tmp_path / "whole", tmp_path / "killed", dirs_exist_ok=True)

    def run(directory, *callbacks):
        keras.utils.set_random_seed(0)
        model = EmbeddingModel(stack(), 4, freeze_batch_norm=True)
        model.embedding.trainable = False
        model.compile("adam", loss=keras_epos.ArcFaceLoss(3), loss_optimizer=keras.optimizers.Adam(0.01))
        callbacks = [keras.callbacks.BackupAndRestore(tmp_path / directory), *callbacks]
        history = model.fit(INPUTS, LABELS, epochs=3, shuffle=False, verbose=0, callbacks=callbacks)
        return history.epoch, [keras.ops.convert_to_numpy(weight) for weight in model.weights]

    epochs, uninterrupted = run("whole", Copy())
    assert epochs == [0, 1, 2]
    epochs, resumed = run("killed")
    assert epochs == [2]
    for one, other in zip(resumed, uninterrupted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_configuration_opens_no_file(tmp_path):
    stack().save(tmp_path / "stack.keras")
    config = EmbeddingModel(stack(), 4).get_config()
    for backbone in (str(tmp_path / "stack.keras"), "MobileNetV2", None):
        with pytest.raises(ValueError, match="serialized model"):
            EmbeddingModel.from_config({**config, "backbone": backbone})


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    """A backbone that is built when the model around it is."""

    def __init__(self, **shared):
        super().__init__(**shared)
        self.dense = keras.layers.Dense(5)

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, inputs):
        return self.dense(inputs)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 5)


def test_what_is_frozen_survives_where_layers_are_made_by_build(tmp_path):
    tokens = np.repeat(INPUTS[:, None], 2, axis=1)
    model = EmbeddingModel(Subclassed(), 4)
    model.compile("sgd", loss=TripletLoss(), run_eagerly=True)
    model.fit(tokens, LABELS, verbose=0)
    model.backbone.trainable = False
    model.pooling.trainable = False
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert settings(loaded) == settings(model)
    np.testing.assert_array_equal(loaded.predict(tokens, verbose=0), model.predict(tokens, verbose=0))
