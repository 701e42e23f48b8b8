"""Layer-wise decay of the learning rate, and first layers that stay: which weights lie how deep, and how they move."""

import keras
import numpy as np
import pytest
from small_networks import SHAPE, convolutions, functional, of_layers

import keras_epos
from keras_epos import EmbeddingModel
from keras_epos.training import warm_cosine_adamw

IMAGES = np.random.default_rng(0).normal(size=(12, *SHAPE)).astype("float32")
LABELS = np.arange(12) % 3
DECAY = 0.5


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def model_of(backbone, optimizer, **arguments):
    keras.utils.set_random_seed(0)
    model = EmbeddingModel(backbone(), 4)
    model.compile(optimizer, loss=keras_epos.ContrastiveLoss(), run_eagerly=True, **arguments)
    return model


def fit(model, **arguments):
    return model.fit(IMAGES, LABELS, batch_size=12, shuffle=False, verbose=0, **arguments)


def of_a_block(number):
    names = ("norm", "attention", "wide", "narrow")
    return {f"{name}_{number}" for name in names}


# Depth of every layer with weights, or of what contains it, by hand.
DEPTHS = {
    # A block begins with its attention, so its normalization before counts with what comes before.
    functional: [
        {"attention_1", "wide_1", "narrow_1"},
        {"attention_0", "wide_0", "narrow_0", "norm_1"},
        {"patches", "norm_0"},
    ],
    of_layers: [{"last_norm"}, set(), {"patches"}],
    # Pooling makes the maps smaller, too; two strides side by side are one step.
    convolutions: [{"third"}, {"second", "beside"}, {"stem", "stem_norm"}],
}


@pytest.mark.parametrize("backbone", DEPTHS, ids=lambda one: one.__name__)
def test_one_step_of_sgd_moves_weights_by_the_decay_to_their_depth(backbone):
    expected = {name: depth for depth, names in enumerate(DEPTHS[backbone], 1) for name in names}
    plain = model_of(backbone, keras.optimizers.SGD(1.0))
    decayed = model_of(backbone, keras.optimizers.SGD(1.0), layer_decay=DECAY)
    before = [array(one) for one in plain.trainable_variables]
    fit(plain), fit(decayed)
    depths = {id(weight): 0 for weight in decayed.embedding.weights}
    for layer in decayed.backbone.layers:
        if layer.name in expected:
            depths |= {id(weight): expected[layer.name] for weight in layer.weights}
    if backbone is of_layers:
        (encoder,) = (layer for layer in decayed.backbone.layers if hasattr(layer, "blocks"))
        depths[id(encoder.token)] = 3
        for block, depth in zip(encoder.blocks, (2, 1), strict=True):
            depths |= {id(weight): depth for weight in block.weights}
    moved = 0
    for start, one, other in zip(before, plain.trainable_variables, decayed.trainable_variables, strict=True):
        factor = DECAY ** depths[id(other)]
        np.testing.assert_allclose(array(other) - start, factor * (array(one) - start), rtol=1e-3, atol=1e-6)
        moved += np.abs(array(one) - start).max() > 1e-5
    assert moved >= len(before) - 4  # biases of keys have no gradient


def test_adapters_belong_to_the_layer_beside_which_they_stand():
    model = EmbeddingModel(functional(), 4, lora=2)
    for group in model.depth_groups():
        adapters = [layer for layer in group.layers if layer.name.startswith("low_rank")]
        assert len(adapters) == (2 if group.depth in (1, 2) else 0)
    # Patches, token and the first block stay, its two adapters too: those of the second block and the head are left.
    assert len(EmbeddingModel(of_layers(), 4, lora=2, freeze=0.6).trainable_variables) == 4 + 2


def rates(model):
    return sorted(float(array(one.learning_rate)) for one in model.optimizer.optimizers)


@pytest.mark.backend("tensorflow", "torch", reason="JAX takes long to compile every step")
@pytest.mark.parametrize("schedule", [False, True], ids=["constant", "schedule"])
def test_the_decay_is_kept_by_callbacks_files_and_resumed_runs(schedule, tmp_path):
    rate = keras.optimizers.schedules.ExponentialDecay(0.08, 1, 0.5) if schedule else 0.08
    arguments = {"backbone_optimizer": keras.optimizers.Adam(rate), "layer_decay": DECAY}
    model = model_of(convolutions, keras.optimizers.Adam(0.08), **arguments)
    # The last two are of the dense layer, and of what has no depth, such as the exponent of `pooling="gem"`.
    assert rates(model) == pytest.approx([0.01, 0.02, 0.04, 0.08, 0.08])
    callbacks = []
    if not schedule:
        callbacks.append(keras.callbacks.ReduceLROnPlateau("loss", factor=0.1, patience=0, min_delta=100, min_lr=0))
    fit(model, epochs=2, callbacks=callbacks)
    expected = [0.0025, 0.005, 0.01, 0.08, 0.08] if schedule else [0.001, 0.002, 0.004, 0.008, 0.008]
    assert rates(model) == pytest.approx(expected)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert rates(loaded) == pytest.approx(expected)
    fit(model), fit(loaded)
    for one, other in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_allclose(array(one), array(other), rtol=1e-5, atol=1e-6)


def test_weights_without_decay_of_weights_stay_so():
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model = model_of(convolutions, "sgd", backbone_optimizer=optimizer, layer_decay=DECAY)
    stem = model.backbone.get_layer("stem")
    model.optimizer.build(model.trainable_variables)
    (own,) = (one for one in model.optimizer.optimizers if abs(float(array(one.learning_rate)) - 0.0125) < 1e-6)
    assert own._use_weight_decay(stem.kernel)
    assert not own._use_weight_decay(stem.bias)


@pytest.mark.backend("tensorflow", "torch", reason="JAX takes long to compile every step")
def test_a_run_under_mixed_float16():
    keras.utils.set_random_seed(0)
    model = EmbeddingModel(convolutions(), 4, dtype="mixed_float16")
    model.compile(warm_cosine_adamw(0.01, 10), loss="triplet", layer_decay=DECAY)
    assert np.isfinite(fit(model, epochs=2).history["loss"]).all()
    assert len(model.optimizer.optimizers) == 4


def test_what_cannot_be_decayed():
    model = EmbeddingModel(convolutions(), 4)
    for decay in (0, 1.5, "much"):
        with pytest.raises(ValueError, match=r"`layer_decay` must be a factor for each depth in \(0, 1\]"):
            model.compile("adam", loss="triplet", layer_decay=decay)
    with pytest.raises(ValueError, match="no `global_clipnorm` with `layer_decay`"):
        model.compile(keras.optimizers.SGD(0.1, global_clipnorm=1.0), loss="triplet", layer_decay=DECAY)
    flat = EmbeddingModel(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]), 4)
    with pytest.raises(ValueError, match="`layer_decay` must be None for a backbone of one depth"):
        flat.compile("adam", loss="triplet", layer_decay=DECAY)
    with pytest.raises(ValueError, match="must be a plain optimizer"):
        model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()), loss="triplet", layer_decay=DECAY)


@pytest.mark.backend("tensorflow", "torch", reason="JAX takes long to compile every step")
@pytest.mark.parametrize(
    ("backbone", "share", "frozen"),
    [
        # Input, stem and stem_norm of eight layers; input, patches, reshape, the encoder's token, the first block of
        # five layers each: 3 + 1 + 5 of 15.
        (convolutions, 0.4, 2 + 4),
        (of_layers, 0.6, 2 + 1 + 10),
    ],
)
def test_first_layers_stay_through_two_stages_and_files(backbone, share, frozen, tmp_path):
    keras.utils.set_random_seed(0)
    model = EmbeddingModel(backbone(), 4, freeze=share)
    assert len(model.backbone.non_trainable_variables) == frozen
    model.backbone.trainable = False
    model.compile("sgd", loss="triplet")
    model.backbone.trainable = True
    model.compile(keras.optimizers.SGD(1.0), loss="triplet", run_eagerly=True)
    assert len(model.backbone.non_trainable_variables) == frozen
    before = [array(one) for one in model.backbone.weights]
    fit(model)
    still = sum(np.array_equal(one, array(other)) for one, other in zip(before, model.backbone.weights, strict=True))
    assert still >= frozen
    model.save(tmp_path / "model.keras")
    keras.layers.Dense(1)  # layers without names are called otherwise from here on
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.freeze == share
    trained = [one.trainable for one in model.backbone.variables]
    assert [one.trainable for one in loaded.backbone.variables] == trained


def test_a_share_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"`freeze` must be a share of the backbone's layers in \[0, 1\]"):
        EmbeddingModel(convolutions(), 4, freeze=2)
