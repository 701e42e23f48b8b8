"""Proxies in an EmbeddingModel: trained, saved, resumed, left out of an export; their own learning rate."""

import keras
import numpy as np
import pytest

import keras_epos
from keras_epos import ArcFaceLoss, EmbeddingModel, NormalizedSoftmaxLoss, ProxyAnchorLoss, SoftTripleLoss

INPUTS = np.random.default_rng(0).normal(size=(48, 6)).astype("float32")
LABELS = np.arange(48) % 4


# What trains which weight is the same in a graph, which takes longer to trace than its few steps; and see
# test_a_loss_optimizer_in_compiled_code.
AS_IT_COMES = {"run_eagerly": True} if keras.backend.backend() == "tensorflow" else {}


def compiled(optimizer, dtype=None, loss=None, **arguments):
    arguments = {**AS_IT_COMES, **arguments}
    keras.utils.set_random_seed(0)
    model = EmbeddingModel(keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)]), 4, dtype=dtype)
    model.compile(optimizer, loss=loss or NormalizedSoftmaxLoss(4, name="softmax"), **arguments)
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


def check_ten_times(make, **arguments):
    """One step with a ten times higher rate of the loss moves the proxies ten times as far, and all else as without."""
    plain = moved(compiled(make(0.01), **arguments))
    fast = moved(compiled(make(0.01), loss_optimizer=make(0.1), **arguments))
    assert np.abs(plain[0]).max() > 1e-6
    np.testing.assert_allclose(fast[0], 10 * plain[0], rtol=1e-4, atol=1e-4 * np.abs(fast[0]).max())
    for one, other in zip(plain[1:], fast[1:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "make",
    [
        lambda rate: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
        lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.1),
        lambda rate: keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(rate, 1, 0.5), clipnorm=1e-3),
    ],
    ids=["momentum", "decay of weights", "schedule and clipping"],
)
def test_proxies_move_by_the_rate_of_their_optimizer(make):
    check_ten_times(make)


def test_three_optimizers_together():
    check_ten_times(keras.optimizers.Adam, backbone_optimizer="sgd")


@pytest.mark.backend("tensorflow", reason="the others are compiled, or never, anyway")
def test_a_loss_optimizer_in_compiled_code():
    check_ten_times(keras.optimizers.Adam, run_eagerly=False, jit_compile=True)


def test_each_optimizer_clips_what_it_trains():
    steps = moved(compiled(keras.optimizers.SGD(0.0), loss_optimizer=keras.optimizers.SGD(0.1, global_clipnorm=1e-2)))
    assert np.linalg.norm(steps[0]) == pytest.approx(1e-3, rel=1e-3)
    assert not any(step.any() for step in steps[1:])


def test_a_loss_optimizer_joins_the_loss_scale_of_float16():
    steps = []
    for rate in (0.1, 1.0):
        optimizers = keras.optimizers.SGD(0.1), keras.optimizers.SGD(rate)
        model = compiled(optimizers[0], loss_optimizer=optimizers[1], dtype="mixed_float16")
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        # The scale is too large at first: a step that overflows moves nothing, and halves it.
        steps.append(next(step for step in (moved(model) for _ in range(8)) if step[0].any()))
    np.testing.assert_allclose(steps[1][0], 10 * steps[0][0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(steps[1][1], steps[0][1], rtol=1e-4, atol=1e-7)
    assert np.abs(steps[0][0]).max() > 1e-3


def test_what_trains_all_is_left_alone():
    optimizer = keras.optimizers.Adam()
    assert compiled(optimizer).optimizer is optimizer
    assert compiled(optimizer, loss="triplet", loss_optimizer="sgd").optimizer is optimizer
    assert isinstance(compiled(optimizer, loss_optimizer="sgd").optimizer, keras.optimizers.MultiOptimizer)


def test_what_is_excluded_from_weight_decay_stays_so():
    decays = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    decays.exclude_from_weight_decay(var_names=["boundary"])
    found = []
    for optimizer in (decays, keras.optimizers.Adam(0.1)):
        losses = {"softmax": NormalizedSoftmaxLoss(4), "margin": keras_epos.MarginLoss(0.2, 1.2, "global")}
        model = compiled("adam", loss=keras_epos.WeightedSum(losses), loss_optimizer=optimizer)
        fit(model)
        weights = {weight.name: keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights[-2:]}
        found.append((weights["boundary"], weights["proxies"]))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-6)
    assert np.abs(found[0][1] - found[1][1]).max() > 1e-3


def test_each_optimizer_keeps_its_schedule_and_hears_callbacks():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.1, 0.0])
    model = compiled(keras.optimizers.SGD(0.1), loss_optimizer=keras.optimizers.SGD(schedule))
    fit(model)
    assert [bool(step.any()) for step in moved(model)] == [False, True, True]

    rates = {"backbone_optimizer": 0.3, "loss_optimizer": 1.0}
    optimizers = {name: keras.optimizers.SGD(rate) for name, rate in rates.items()}
    model = compiled(keras.optimizers.SGD(0.1), **optimizers)
    found = [float(keras.ops.convert_to_numpy(one.learning_rate)) for one in model.optimizer.optimizers]
    assert found == pytest.approx([0.3, 0.1, 1.0])
    stop = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.0)
    assert not any(step.any() for step in moved(model, callbacks=[stop]))


@pytest.mark.parametrize("wrap", [keras.optimizers.LossScaleOptimizer, None])
def test_combined_optimizers_are_not_combined_again(wrap):
    plain = keras.optimizers.SGD(0.1)
    combined = wrap(plain) if wrap else keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(plain))
    with pytest.raises(ValueError, match="`optimizer` must be a plain optimizer"):
        compiled(combined, loss_optimizer="sgd")
    compiled(combined)


@pytest.mark.parametrize(
    ("make", "others"),
    [
        (lambda: SoftTripleLoss(4, centers=2), {}),
        (lambda: ProxyAnchorLoss(4), {"backbone_optimizer": "sgd"}),
        (lambda: ArcFaceLoss(4, scale=8.0), {"loss_optimizer": "adam"}),
    ],
    ids=["SoftTriple", "Proxy-Anchor", "ArcFace"],
)
def test_saved_and_resumed_exactly(tmp_path, make, others):
    model = compiled(keras.optimizers.Adam(0.01), loss=make(), **others)
    fit(model, 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for one, other in zip(values(model), values(loaded), strict=True):
        np.testing.assert_array_equal(one, other)
    assert fit(loaded, 3)["loss"] == pytest.approx(fit(model, 3)["loss"], rel=1e-6)
    for one, other in zip(values(model), values(loaded), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_compiled_again_with_other_proxies():
    model = compiled("adam", loss_optimizer="sgd")
    fit(model)
    model.compile("adam", loss=SoftTripleLoss(4, centers=2), loss_optimizer="sgd", **AS_IT_COMES)
    fit(model)
    assert [tuple(weight.shape) for weight in model.trainable_weights if "proxies" in weight.path] == [(8, 4)]
    model.compile("adam", loss="triplet")
    fit(model)
    assert not [weight for weight in model.trainable_weights if "proxies" in weight.path]


def test_losses_with_rates_of_their_own():
    """By the path of their weights, as Keras has it: the name of the loss stands in it."""

    def step(optimizer):
        losses = {"slow": NormalizedSoftmaxLoss(4), "fast": ArcFaceLoss(4, name="fast")}
        model = compiled(optimizer, loss=keras_epos.WeightedSum(losses))
        before = [keras.ops.convert_to_numpy(loss.proxies) for loss in losses.values()]
        fit(model)
        return [
            keras.ops.convert_to_numpy(loss.proxies) - start
            for loss, start in zip(losses.values(), before, strict=True)
        ]

    by_path = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1), {"fast_weights/.*": keras.optimizers.SGD(1.0)})
    found, plain = step(keras.optimizers.MultiOptimizer(by_path)), step(keras.optimizers.SGD(0.1))
    np.testing.assert_allclose(found[0], plain[0], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found[1], 10 * plain[1], rtol=1e-3, atol=1e-5)


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
        compiled("sgd", run_eagerly=False).fit(INPUTS, LABELS + 1, batch_size=48, verbose=0)
    assert "num_classes=4 and label] [4]" in str(error.value)


@pytest.mark.backend("tensorflow", reason="export needs TensorFlow")
def test_proxies_are_not_exported(tmp_path):
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(6, 3)])
    model = EmbeddingModel(backbone, 5)
    model.compile("sgd", loss=SoftTripleLoss(7, centers=3), loss_optimizer=keras.optimizers.SGD(0.1))
    model.fit(np.zeros((14, 8, 8, 3)), np.arange(14) % 7, verbose=0)
    path = keras_epos.export_savedmodel(model, tmp_path / "photos")
    shapes = [tuple(shape) for _, shape in tf.train.list_variables(str(path / "variables" / "variables"))]
    assert (5,) in shapes
    assert (21, 5) not in shapes
    assert sum(np.prod(shape) for shape in shapes if shape) == model.backbone.count_params() + 6 * 5 + 5
