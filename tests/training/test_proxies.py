"""Proxies in an EmbeddingModel: trained, saved, resumed, left out of an export; their own learning rate."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_epos
from keras_epos import ArcFaceLoss, EmbeddingModel, NormalizedSoftmaxLoss, ProxyAnchorLoss, SoftTripleLoss
from keras_epos.training.optimizers import PartsOptimizer

INPUTS = np.random.default_rng(0).normal(size=(48, 6)).astype("float32")
LABELS = np.arange(48) % 4


def compiled(optimizer, multiplier=1.0, dtype=None, loss=None, **arguments):
    keras.utils.set_random_seed(0)
    model = EmbeddingModel(keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)]), 4, dtype=dtype)
    loss = loss or NormalizedSoftmaxLoss(4, learning_rate_multiplier=multiplier, name="softmax")
    model.compile(optimizer, loss=loss, **arguments)
    return model


def fit(model, epochs=1, **arguments):
    return model.fit(INPUTS, LABELS, batch_size=48, epochs=epochs, shuffle=False, verbose=0, **arguments).history


def values(model):
    """Proxies, dense layer, backbone."""
    variables = (model.loss.proxies, model.embedding.kernel, model.backbone.layers[0].kernel)
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def moved(model, epochs=1, **arguments):
    before = values(model)
    fit(model, epochs, **arguments)
    return [after - start for start, after in zip(before, values(model), strict=True)]


def check_multiplied(make_optimizer, multiplier=10.0, tolerance=1e-4, make_backbone_optimizer=None, **arguments):
    """One step with the multiplier moves the proxies so many times as far, and all else as without."""

    def step(multiplier):
        backbone_optimizer = make_backbone_optimizer and make_backbone_optimizer()
        return moved(compiled(make_optimizer(), multiplier, backbone_optimizer=backbone_optimizer, **arguments))

    plain, multiplied = step(1.0), step(multiplier)
    assert np.abs(plain[0]).max() > 1e-6
    np.testing.assert_allclose(
        multiplied[0], multiplier * plain[0], rtol=tolerance, atol=tolerance * np.abs(multiplied[0]).max()
    )
    for one, other in zip(plain[1:], multiplied[1:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.optimizers.SGD(0.1),
        lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        lambda: keras.optimizers.Adam(0.01),
        lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
        lambda: keras.optimizers.Nadam(0.01),
        lambda: keras.optimizers.Adam(0.01, clipnorm=1e-3),
        lambda: keras.optimizers.SGD(0.1, global_clipnorm=1e-2),
        lambda: keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.01, 1, 0.5)),
    ],
    ids=["sgd", "momentum", "adam", "adamw", "nadam", "clipnorm", "global_clipnorm", "schedule"],
)
def test_proxies_move_exactly_so_many_times_as_far(make):
    check_multiplied(make)


def test_a_multiplier_joins_a_backbone_optimizer():
    check_multiplied(lambda: keras.optimizers.Adam(0.01), make_backbone_optimizer=lambda: keras.optimizers.SGD(0.1))


def test_a_multiplier_joins_the_loss_scale_of_float16():
    steps = []
    for multiplier in (1.0, 10.0):
        model = compiled(keras.optimizers.SGD(0.1), multiplier, dtype="mixed_float16")
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        # The scale is too large at first: a step that overflows moves nothing, and halves it.
        steps.append(next(step for step in (moved(model) for _ in range(8)) if step[0].any()))
    np.testing.assert_allclose(steps[1][0], 10 * steps[0][0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(steps[1][1], steps[0][1], rtol=1e-4, atol=1e-7)
    assert np.abs(steps[0][0]).max() > 1e-3


@pytest.mark.backend("tensorflow", reason="the others are compiled, or never, anyway")
def test_a_multiplier_in_compiled_code():
    check_multiplied(lambda: keras.optimizers.Adam(0.01), jit_compile=True)


def test_a_multiplier_of_one_leaves_the_optimizer_alone():
    optimizer = keras.optimizers.Adam()
    assert compiled(optimizer).optimizer is optimizer
    assert isinstance(compiled(keras.optimizers.Adam(), 2.0).optimizer, PartsOptimizer)


def test_what_is_excluded_from_weight_decay_stays_so():
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["proxies"])
    plain = keras.optimizers.Adam(0.1)
    np.testing.assert_allclose(moved(compiled(optimizer, 5.0))[0], moved(compiled(plain, 5.0))[0], rtol=1e-4, atol=1e-6)


def test_schedules_and_callbacks_act_on_both_rates():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.1, 0.0])
    model = compiled(keras.optimizers.SGD(schedule), 10)
    fit(model)
    assert not any(step.any() for step in moved(model))

    model = compiled(keras.optimizers.SGD(0.1), 10)
    stop = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.0)
    assert not any(step.any() for step in moved(model, callbacks=[stop]))
    assert float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)) == 0
    model.optimizer.learning_rate = 0.2
    twice = moved(model)
    once = moved(compiled(keras.optimizers.SGD(0.1), 10))
    for one, other in zip(once, twice, strict=True):
        np.testing.assert_allclose(2 * one, other, rtol=1e-3, atol=1e-6)


def test_each_of_two_optimizers_keeps_its_rate():
    model = compiled(keras.optimizers.SGD(0.1), 10, backbone_optimizer=keras.optimizers.SGD(0.3))
    rates = [float(keras.ops.convert_to_numpy(one.learning_rate)) for one in model.optimizer.optimizers]
    assert rates == pytest.approx([0.3, 0.1])
    with pytest.raises(AttributeError, match="of its own"):
        _ = model.optimizer.learning_rate


@pytest.mark.parametrize("wrap", [keras.optimizers.LossScaleOptimizer, None])
def test_combined_optimizers_are_not_combined_again(wrap):
    plain = keras.optimizers.SGD(0.1)
    combined = wrap(plain) if wrap else keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(plain))
    with pytest.raises(ValueError, match="`optimizer` must be a plain optimizer"):
        compiled(combined, 10)
    compiled(combined)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SoftTripleLoss(4, centres=2, learning_rate_multiplier=10),
        lambda: ProxyAnchorLoss(4, learning_rate_multiplier=3),
        lambda: ArcFaceLoss(4, scale=8.0),
    ],
    ids=["SoftTriple", "Proxy-Anchor", "ArcFace"],
)
@pytest.mark.parametrize("backbone_optimizer", [None, "sgd"])
def test_saved_and_resumed_exactly(tmp_path, make, backbone_optimizer):
    model = compiled(keras.optimizers.Adam(0.01), loss=make(), backbone_optimizer=backbone_optimizer)
    fit(model, 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for one, other in zip(values(model), values(loaded), strict=True):
        np.testing.assert_array_equal(one, other)
    assert fit(loaded, 3)["loss"] == pytest.approx(fit(model, 3)["loss"], rel=1e-6)
    for one, other in zip(values(model), values(loaded), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


PROGRAM = """
import json, sys, keras, numpy as np, keras_epos
model = keras.saving.load_model(sys.argv[1])
inputs, labels = np.random.default_rng(0).normal(size=(48, 6)).astype("float32"), np.arange(48) % 4
proxies = keras.ops.convert_to_numpy(model.loss.proxies).tolist()
loss = model.fit(inputs, labels, batch_size=48, shuffle=False, verbose=0).history["loss"]
print(json.dumps([model.loss.get_config(), proxies, loss]))
"""


def test_a_fresh_process_goes_on(tmp_path):
    loss = ProxyAnchorLoss(4, learning_rate_multiplier=10, name="proxies")
    model = compiled(keras.optimizers.Adam(0.01), loss=loss)
    fit(model)
    model.save(tmp_path / "model.keras")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "model.keras")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    config, proxies, history = json.loads(done.stdout.splitlines()[-1])
    assert config == json.loads(json.dumps(loss.get_config()))
    np.testing.assert_allclose(proxies, values(model)[0], rtol=1e-6)
    assert history == pytest.approx(fit(model)["loss"], rel=1e-5)


def test_compiled_again_with_other_proxies():
    model = compiled("adam", 10)
    fit(model)
    model.compile("adam", loss=SoftTripleLoss(4, centres=2))
    fit(model)
    assert [tuple(weight.shape) for weight in model.trainable_weights if "proxies" in weight.path] == [(8, 4)]
    model.compile("adam", loss="triplet")
    fit(model)
    assert not [weight for weight in model.trainable_weights if "proxies" in weight.path]


def test_multipliers_travel_through_a_weighted_sum():
    parts = {"slow": NormalizedSoftmaxLoss(4), "fast": ArcFaceLoss(4, learning_rate_multiplier=10)}
    model = compiled(keras.optimizers.SGD(0.1), loss=keras_epos.WeightedSum(parts))
    fit(model)
    plain = {"slow": NormalizedSoftmaxLoss(4), "fast": ArcFaceLoss(4)}
    other = compiled(keras.optimizers.SGD(0.1), loss=keras_epos.WeightedSum(plain))
    start = {name: keras.ops.convert_to_numpy(loss.proxies) for name, loss in plain.items()}
    fit(other)
    for name, factor in (("slow", 1), ("fast", 10)):
        steps = [keras.ops.convert_to_numpy(losses[name].proxies) - start[name] for losses in (parts, plain)]
        np.testing.assert_allclose(steps[0], factor * steps[1], rtol=1e-3, atol=1e-5)


def test_a_name_without_the_number_of_classes_is_refused():
    with pytest.raises(ValueError, match=r"`num_classes` must be given .*ProxyAnchorLoss"):
        compiled("adam", loss="proxy_anchor")


def test_a_plain_model_refuses_proxies():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
    model.compile("sgd", loss=ProxyAnchorLoss(4))
    with pytest.raises(ValueError, match="would never train"):
        model.fit(INPUTS, LABELS, verbose=0)


@pytest.mark.backend("tensorflow", reason="a graph that can raise")
def test_fit_names_a_label_out_of_range():
    with pytest.raises(Exception, match=r"`y_true` must lie in \[0, num_classes\)") as error:
        compiled("sgd").fit(INPUTS, LABELS + 1, batch_size=48, verbose=0)
    assert "num_classes=4 and label] [4]" in str(error.value)


@pytest.mark.backend("tensorflow", reason="export needs TensorFlow")
def test_proxies_are_not_exported(tmp_path):
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(6, 3)])
    model = EmbeddingModel(backbone, 5)
    model.compile("sgd", loss=SoftTripleLoss(7, centres=3, learning_rate_multiplier=10))
    model.fit(np.zeros((14, 8, 8, 3)), np.arange(14) % 7, verbose=0)
    path = keras_epos.export_savedmodel(model, tmp_path / "photos")
    shapes = [tuple(shape) for _, shape in tf.train.list_variables(str(path / "variables" / "variables"))]
    assert (5,) in shapes
    assert (21, 5) not in shapes
    assert sum(np.prod(shape) for shape in shapes if shape) == model.backbone.count_params() + 6 * 5 + 5
