"""Batches without pairs: no part of a mean, no figure that looks like success, and a sentence that says so."""

import os
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest

from keras_epos import EmbeddingModel, MetricLearningModel, NormPenalty, TripletLoss, WeightedSum

INPUTS = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
LABELS = np.repeat(np.arange(4), 8)
# Pairs in the first 8 rows alone.
FEW_PAIRS = np.concatenate([np.arange(8) % 2, np.arange(24) + 10])


def embedder(loss, **arguments):
    keras.utils.set_random_seed(0)
    model = EmbeddingModel(keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)]), 4)
    model.compile(keras.optimizers.SGD(0.0), loss=loss, **arguments)
    return model


def fit(model, labels, **arguments):
    return model.fit(INPUTS, labels, batch_size=8, shuffle=False, verbose=0, **arguments).history


def test_batches_without_pairs_have_no_weight():
    terms = WeightedSum({"pairs": TripletLoss(), "norm": NormPenalty()}, {"norm": 0.0})
    for loss in (TripletLoss(), terms):
        model = embedder(loss)
        alone = model.evaluate(INPUTS[:8], FEW_PAIRS[:8], batch_size=8, verbose=0, return_dict=True)
        assert alone["loss"] > 0
        logs = {key: values[0] for key, values in fit(model, FEW_PAIRS).items()}
        # The penalty is measured in every batch, so the sum is too.
        assert logs.pop("valid_anchors") == (1 if loss is terms else 0.25)
        assert alone.pop("valid_anchors") == 1
        compared = ["pairs"] if loss is terms else list(alone)
        assert [logs[name] for name in compared] == pytest.approx([alone[name] for name in compared], rel=1e-5)


def test_validation_sorted_by_class_is_no_success():
    model = embedder(TripletLoss())
    stop = keras.callbacks.TerminateOnNaN()
    with pytest.warns(UserWarning, match=r"val.*loss is NaN|loss is NaN") as said:
        logs = fit(model, np.arange(32) % 4, epochs=2, validation_data=(INPUTS, LABELS), callbacks=[stop])
    assert len([one for one in said if "balanced_batches" in str(one.message)]) == 1
    assert np.isnan(logs["val_loss"]).all()
    assert len(logs["loss"]) == 2
    assert logs["val_valid_anchors"] == [0, 0]


def test_training_without_pairs_is_said_once():
    model = embedder(TripletLoss())
    with pytest.warns(UserWarning, match="32 labels, 32 classes.*balanced_batches") as said:
        logs = fit(model, np.arange(32), epochs=2, callbacks=[keras.callbacks.TerminateOnNaN()])
    assert len([one for one in said if "balanced_batches" in str(one.message)]) == 1
    # Nothing to learn from is no divergence: the run goes on.
    assert logs["loss"] == [0, 0]
    assert np.isnan(logs["positive_similarity"]).all()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*balanced_batches")
        fit(model, np.arange(32) % 4)


def test_each_of_several_losses_has_a_mean_of_its_own():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    outputs = {"near": keras.layers.Dense(5)(inputs), "far": keras.layers.Dense(2)(inputs)}
    model = MetricLearningModel(inputs, outputs)
    model.compile(
        keras.optimizers.SGD(0.0), loss={"near": TripletLoss(), "far": "mse"}, loss_weights={"near": 2.0, "far": 1.0}
    )
    far = np.zeros((32, 2), "float32")
    arguments = {"batch_size": 8, "verbose": 0, "return_dict": True}
    alone = model.evaluate(INPUTS[:8], {"near": FEW_PAIRS[:8], "far": far[:8]}, **arguments)
    logs = model.evaluate(INPUTS, {"near": FEW_PAIRS, "far": far}, **arguments)
    assert logs["near_loss"] == pytest.approx(alone["near_loss"], rel=1e-5)
    assert logs["far_loss"] == pytest.approx(
        float(np.mean(keras.ops.convert_to_numpy(model(INPUTS)["far"]) ** 2)), rel=1e-4
    )


@pytest.mark.backend("jax", reason="others hold 64 bits")
def test_ids_that_would_be_cut_are_refused_before_they_are():
    program = """
import numpy, keras, keras_epos
model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)]), 4)
model.compile("sgd", loss="triplet")
inputs, ids = numpy.zeros((4, 6)), numpy.array([1, 1, 2**32 + 1, 2**32 + 1])
for call in (
    lambda: model.fit(inputs, ids),
    lambda: model.evaluate(inputs, ids),
    lambda: model.fit(inputs, ids % 7, validation_data=(inputs, ids)),
):
    try:
        call()
    except ValueError as error:
        print("refused", "numpy.unique" in str(error))
"""

    environment = {**os.environ, "JAX_ENABLE_X64": "0"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout.count("refused True") == 3, done.stdout + done.stderr[-2000:]
