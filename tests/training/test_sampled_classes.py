"""Losses that sample their classes, in training: what is drawn learns as ever, all else stays as it was."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_epos
from keras_epos import reference
from keras_epos.losses import _drawn_proxies

CLASSES, DIM, BATCH = 20, 4, 8
INPUTS = np.random.default_rng(0).normal(size=(4 * BATCH, 6)).astype("float32")
LABELS = np.random.default_rng(1).integers(0, CLASSES, 4 * BATCH)
# A graph takes longer to trace than its few steps; and see test_compiled_and_in_pieces.
AS_IT_COMES = {"run_eagerly": True} if keras.backend.backend() == "tensorflow" else {}


def compiled(optimizer, loss=None, frozen=False, **arguments):
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)])
    model = keras_epos.EmbeddingModel(network, DIM, dtype=arguments.pop("dtype", None))
    model.backbone.trainable = model.embedding.trainable = not frozen
    loss = loss or keras_epos.CosFaceLoss(CLASSES, scale=8.0, sampled=0.6, seed=3, dtype="float64")
    model.compile(optimizer, loss=loss, **{**AS_IT_COMES, **arguments})
    return model


def fit(model, epochs=1, **arguments):
    arguments = {"shuffle": False, "verbose": 0, **arguments}
    return model.fit(INPUTS, LABELS, batch_size=BATCH, epochs=epochs, **arguments).history["loss"]


def numpy(values):
    return np.asarray(ops.convert_to_numpy(values))


# Each is the optimizer and what it does: (rows, gradient, moments of these rows, step from 1) to (rows, moments).


def momentum(rows, gradient, moments, step):
    velocity = 0.9 * moments[0] - 0.5 * gradient
    return rows + 0.9 * velocity - 0.5 * gradient, [velocity]


def adam(rows, gradient, moments, step, decay=0.0):
    rows = rows - decay * rows
    first, second = 0.9 * moments[0] + 0.1 * gradient, 0.999 * moments[1] + 0.001 * gradient**2
    rate = 0.1 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    return rows - rate * first / (np.sqrt(second) + 1e-7), [first, second]


def plain(rows, gradient, moments, step):
    return rows - 0.5 * gradient, []


def clipped(rows, gradient, moments, step):
    return rows - 0.5 * gradient * min(1.0, 0.01 / np.linalg.norm(gradient)), []


RULES = {
    "momentum": (lambda: keras.optimizers.SGD(0.5, momentum=0.9, nesterov=True), momentum, 1),
    "Adam": (lambda: keras.optimizers.Adam(0.1), adam, 2),
    "AdamW": (lambda: keras.optimizers.AdamW(0.1, weight_decay=0.3), lambda *args: adam(*args, decay=0.03), 2),
    # Its one list of variables, that of the steps alone, is as long as that of what it trains.
    "schedule": (lambda: keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.5, 10**9)), plain, 0),
    "clipnorm": (lambda: keras.optimizers.SGD(0.5, clipnorm=0.01), clipped, 0),
    "global clipnorm": (lambda: keras.optimizers.SGD(0.5, global_clipnorm=0.01), clipped, 0),
}


@pytest.mark.parametrize(("rule", "room"), [*((rule, 0) for rule in RULES), ("AdamW", 1024)])
def test_each_optimizer_trains_the_rows_drawn_and_no_others(rule, room, monkeypatch):
    monkeypatch.setattr(_drawn_proxies, "ROOM", room)
    make, update, number = RULES[rule]
    model = compiled(make(), frozen=True)
    loss = model.loss
    proxies = numpy(loss.proxies).copy()
    moments = [np.zeros_like(proxies) for _ in range(number)]
    seen = set()
    for step in range(3):
        batch = slice(step * BATCH, (step + 1) * BATCH)
        model.train_on_batch(INPUTS[batch], LABELS[batch])
        drawn = loss.seen(training=True)
        classes = numpy(drawn.classes) if drawn.counts is None else numpy(drawn.classes)[numpy(drawn.counts)]
        assert len(classes) == 12
        assert set(LABELS[batch]) <= set(classes)
        labels = np.array([list(classes).index(label) for label in LABELS[batch]])
        embeddings, rows = numpy(model(INPUTS[batch])).astype("float64"), proxies[classes]
        terms = reference.cos_face(labels, embeddings, rows, scale=8.0)
        gradient = reference.proxy_gradients(terms, embeddings, rows)[1]
        proxies[classes], new = update(rows, gradient, [moment[classes] for moment in moments], step + 1)
        for moment, values in zip(moments, new, strict=True):
            moment[classes] = values
        # Keras has 1 - 0.999 in float32.
        np.testing.assert_allclose(numpy(loss.proxies), proxies, atol=1e-5)
        tables = [variable for variable in model.optimizer.variables if variable.shape == proxies.shape]
        for table, moment in zip(tables[-number:] if number else [], moments, strict=True):
            np.testing.assert_allclose(numpy(table), moment, atol=2e-6)
        seen.add(tuple(classes))
    assert len(seen) == 3


@pytest.mark.parametrize("name", ["Adam", "RMSprop", "Nadam"])
def test_where_a_batch_has_all_classes_nothing_is_new(name):
    """Also a check of which variables of an optimizer are moments of the proxies."""
    settings = {"RMSprop": {"momentum": 0.5, "centered": True}, "Adam": {"amsgrad": True}}.get(name, {})
    found = []
    for sampled in (None, 0.3):
        optimizer = getattr(keras.optimizers, name)(0.1, **settings)
        model = compiled(optimizer, keras_epos.SubCenterArcFaceLoss(4, centers=2, sampled=sampled, dtype="float64"))
        for _ in range(2):
            model.train_on_batch(INPUTS[:4], np.arange(4))
        found.append(numpy(model.loss.proxies))
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)


def test_saved_and_resumed_exactly(tmp_path):
    """Also an optimizer of its own for the proxies, beside the scale of the loss that half precision brings."""
    settings = {"dtype": "mixed_float16", "loss_optimizer": keras.optimizers.AdamW(0.1)}
    loss = keras_epos.ElasticCosFaceLoss(CLASSES, scale=8.0, sampled=0.6, seed=3)
    model = compiled(keras.optimizers.Adam(0.01), loss, **settings)
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert fit(loaded) == pytest.approx(fit(model), rel=1e-6)
    for one, other in zip(model.variables, loaded.variables, strict=True):
        np.testing.assert_allclose(numpy(one), numpy(other), rtol=1e-5, atol=1e-6)
    for one, other in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_allclose(numpy(one), numpy(other), rtol=1e-5, atol=1e-6)


def test_compiled_and_in_pieces():
    def trained(**arguments):
        model = compiled(keras.optimizers.Adam(0.05), **arguments)
        logs = fit(model)
        return numpy(model.loss.proxies), numpy(model.embedding.kernel), np.array(logs)

    expected = trained()
    # The benchmark `devices.py` trains in graphs of TensorFlow.
    compiles = [{"run_eagerly": False, "jit_compile": True}] if keras.backend.backend() == "tensorflow" else []
    for way in [{"micro_batch": 3}, *compiles]:
        for one, other in zip(trained(**way), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_frozen_loss_and_several_outputs():
    """Each loss of a sum, of a prefix or of an output draws for itself."""
    features = keras.layers.Dense(DIM)(inputs := keras.Input((6,)))
    model = keras_epos.MetricLearningModel(inputs, {"raw": features, "neck": keras.layers.Dense(DIM)(features)})
    first, second = keras_epos.ArcFaceLoss(CLASSES, sampled=0.6), keras_epos.SoftTripleLoss(CLASSES, 2, sampled=0.7)
    third = keras_epos.ProxyAnchorLoss(CLASSES, sampled=0.5)
    losses = {"raw": keras_epos.WeightedSum({"a": first, "b": second}), "neck": keras_epos.Matryoshka(third, (2,))}
    model.compile("adam", loss=losses, **AS_IT_COMES)
    second._layer.trainable = False
    before = [numpy(loss.proxies).copy() for loss in (first, second, third)]
    model.fit(INPUTS, LABELS, batch_size=BATCH, verbose=0)
    moved = [
        np.abs(numpy(loss.proxies) - start).max() for loss, start in zip((first, second, third), before, strict=True)
    ]
    assert moved[0] > 1e-4
    assert moved[1] == 0
    assert moved[2] > 1e-4
    assert np.isfinite(model.evaluate(INPUTS, LABELS, verbose=0, return_dict=True)["loss"])


@pytest.mark.parametrize(
    ("optimizer", "sentence"),
    [
        (keras.optimizers.Lamb(), r"`loss_optimizer` must be one of SGD, .* Received: Lamb\."),
        (keras.optimizers.SGD(use_ema=True), "must have neither use_ema .* Received: a SGD with use_ema=True"),
        (keras.optimizers.Adam(gradient_accumulation_steps=2), "Received: a Adam with .*gradient_accumulation_steps=2"),
    ],
)
def test_optimizers_that_mix_rows_or_steps_are_refused(optimizer, sentence):
    for arguments in ({}, {"loss_optimizer": optimizer}):
        with pytest.raises(ValueError, match=sentence):
            compiled(keras.optimizers.SGD() if arguments else optimizer, **arguments)
    by_path = keras.optimizers.OptimizerMap(keras.optimizers.SGD(), {".*proxies": optimizer})
    model = compiled(keras.optimizers.MultiOptimizer(by_path))
    with pytest.raises(ValueError, match=sentence):
        fit(model)
    compiled(optimizer, loss_optimizer="sgd")
