"""What RecallAtK measures before training, and the sentence when training is behind it."""

import json

import keras
import numpy as np
import pytest

from keras_epos import EmbeddingModel, RecallAtK, TripletLoss, retrieval

RNG = np.random.default_rng(0)
LABELS = np.repeat(np.arange(4), 10)
IMAGES = (3 * np.eye(4)[LABELS] + RNG.normal(size=(40, 4))).astype(np.float32)


def compiled(normalization=True, rate=0.0):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4,)), keras.layers.Dense(8), *[keras.layers.BatchNormalization()] * normalization]
    model = EmbeddingModel(keras.Sequential(layers), 2)
    model.compile(keras.optimizers.SGD(rate), loss=TripletLoss(), run_eagerly=True)
    return model


def fit(model, callback, epochs=1, **arguments):
    return model.fit(IMAGES, LABELS, batch_size=40, epochs=epochs, verbose=0, callbacks=[callback], **arguments)


def test_the_model_and_the_features_of_its_backbone_are_measured():
    model = compiled(normalization=False)
    expected = {
        "start": retrieval.evaluate(model.predict(IMAGES, verbose=0), LABELS),
        "backbone": retrieval.evaluate(model.backbone.predict(IMAGES, verbose=0), LABELS),
    }
    callback = RecallAtK(IMAGES, LABELS)
    fit(model, callback)
    assert callback.baseline == expected
    assert callback.baseline["start"] != callback.baseline["backbone"]
    # As a record of the run keeps it, for the part of the run that comes later.
    again = RecallAtK(IMAGES, LABELS, baseline=json.loads(json.dumps(callback.baseline)))
    fit(model, again)
    assert again.baseline == expected


def test_features_of_maps_are_pooled_as_the_model_does():
    keras.utils.set_random_seed(0)
    backbone = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(3, 2)])
    model = EmbeddingModel(backbone, 2)
    model.compile("sgd", loss=TripletLoss(), run_eagerly=True)
    images = RNG.normal(size=(40, 4, 4, 1)).astype(np.float32)
    callback = RecallAtK(images, LABELS)
    model.fit(images, LABELS, batch_size=40, verbose=0, callbacks=[callback])
    keras.utils.set_random_seed(0)
    fresh = EmbeddingModel(keras.models.clone_model(backbone), 2)
    fresh.backbone.set_weights(backbone.get_weights())
    assert callback.baseline.keys() == {"start", "backbone"}
    assert 0 < callback.baseline["backbone"]["recall@8"] < 1


def test_measuring_changes_neither_weights_nor_random_numbers():
    weights = []
    for baseline in (True, False):
        model = compiled(rate=0.1)
        fit(model, RecallAtK(IMAGES, LABELS, baseline=baseline), shuffle=False)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_that_goes_on_is_not_taken_for_a_beginning():
    model = compiled(normalization=False, rate=0.1)
    fit(model, RecallAtK(IMAGES, LABELS, baseline=False))
    callback = RecallAtK(IMAGES, LABELS)
    fit(model, callback, epochs=2, initial_epoch=1)
    assert callback.baseline is None
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    plain.compile("sgd", loss=TripletLoss())
    fit(plain, callback)
    assert callback.baseline.keys() == {"start"}


def run(values, capsys, start=0.5, backbone=None):
    """The lines that are printed when epochs measure `values`."""
    baseline = {"start": {"recall@1": start}} | ({} if backbone is None else {"backbone": {"recall@1": backbone}})
    callback = RecallAtK(IMAGES, LABELS, baseline=baseline)
    values = iter(values)
    callback.evaluate = lambda model: {"recall@1": next(values), "queries_without_match": 0}
    callback.set_model(compiled(normalization=False))
    callback.set_params({"epochs": 4})
    callback.on_train_begin()
    for epoch in range(4):
        callback.on_epoch_end(epoch, {})
    during = capsys.readouterr().out
    callback.on_train_end()
    return during, capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "during", "end"),
    [
        ([0.1, 0.2, 0.4, 0.6], [], []),
        ([0.1, 0.3, 0.2, 0.6], ["recall@1 is 30.0% at best, after epoch 2, and so behind the 50.0% of the model"], []),
        ([0.1, 0.2, 0.3, 0.4], [], ["recall@1 is 40.0% at best, after epoch 4"]),
        ([0.2, 0.1, 0.3, 0.1], ["is 20.0% at best, after epoch 1"], ["is 30.0% at best, after epoch 3"]),
        ([0.4, 0.3, 0.2, 0.1], ["is 40.0% at best, after epoch 1"], []),
        ([0.5, 0.5, 0.5, 0.5], [], []),
    ],
)
def test_a_sentence_when_training_is_behind(values, during, end, capsys):
    for printed, expected in zip(run(values, capsys), (during, end), strict=True):
        assert printed.count("RecallAtK:") == len(expected)
        assert all(sentence in printed for sentence in expected)


def test_the_better_part_of_the_baseline_is_named(capsys):
    assert "behind the 50.0% of the model before" in run([0.4] * 4, capsys, backbone=0.45)[0]
    assert "behind the 60.0% that the features of its backbone" in run([0.55] * 4, capsys, backbone=0.6)[0]
    assert run([0.7] * 4, capsys, backbone=0.6) == ("", "")


@pytest.mark.parametrize("baseline", [None, 1, "start", {"recall@1": 0.5}, {"begin": {"recall@1": 0.5}}])
def test_wrong_baselines(baseline):
    with pytest.raises(ValueError, match="`baseline` must be True, False, or a dictionary"):
        RecallAtK(IMAGES, LABELS, baseline=baseline)


def test_the_best_epoch_on_held_out_classes_is_kept():
    """The recipe of the docstring: what `restore_best_weights` brings back is the best epoch that was measured."""
    model = compiled(normalization=False, rate=20.0)
    callback = RecallAtK(IMAGES, LABELS)
    best = keras.callbacks.EarlyStopping("val_recall@1", mode="max", patience=9, restore_best_weights=True)
    model.fit(IMAGES, LABELS, batch_size=8, epochs=5, verbose=0, callbacks=[callback, best])
    values = [entry["recall@1"] for entry in callback.history]
    assert len(set(values)) > 1
    assert callback.evaluate(model)["recall@1"] == max(values)
