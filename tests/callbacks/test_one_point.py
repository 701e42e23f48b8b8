"""Embeddings that are one point: what RecallAtK and CollapseMonitor say, once, and that asking changes nothing."""

import warnings

import keras
import numpy as np
import pytest

from keras_epos import CollapseMonitor, EasyPositiveTripletLoss, EmbeddingModel, RecallAtK, TripletLoss
from keras_epos.callbacks._one_point import differs_in_training_mode, is_one_point

RNG = np.random.default_rng(0)
LABELS = np.repeat(np.arange(4), 10)
IMAGES = RNG.normal(size=(40, 6)).astype(np.float32)


def model_that(coincides, loss=None):
    """A model of one point: by statistics that are far off, or by a layer without a weight."""
    keras.utils.set_random_seed(0)
    norm, drop = keras.layers.BatchNormalization(momentum=0.999), keras.layers.Dropout(0.1)
    start = "zeros" if coincides == "always" else "glorot_uniform"
    dense = keras.layers.Dense(8, kernel_initializer=start, bias_initializer="ones")
    backbone = keras.Sequential([keras.Input((6,)), dense, norm, drop])
    model = EmbeddingModel(backbone, 4)
    model.embedding.bias.assign(np.ones(4))
    model.compile(keras.optimizers.SGD(0.0), loss=loss or TripletLoss(), run_eagerly=True)
    if coincides == "in inference":
        norm.moving_variance.assign(np.full(8, 1e9))
    return model


def said(model, callback, epochs=3):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(IMAGES, LABELS, batch_size=40, epochs=epochs, verbose=0, callbacks=[callback])
    return [str(one.message) for one in caught if "embedding" in str(one.message)]


def test_recall_names_batch_normalization_once(capsys):
    (message,) = said(model_that("in inference"), RecallAtK(IMAGES, LABELS))
    assert "practically all of 40 images the same embedding" in message
    assert "it is BatchNormalization: its moving statistics have not caught up. Lower its `momentum`" in message
    # The cause is named; that training is behind its beginning would point elsewhere.
    assert "behind" not in capsys.readouterr().out


def test_recall_does_not_blame_batch_normalization_where_it_is_none():
    (message,) = said(model_that("always"), RecallAtK(IMAGES, LABELS))
    assert "practically all of 40 images" in message
    assert "BatchNormalization" not in message
    assert not said(model_that("never"), RecallAtK(IMAGES, LABELS))


@pytest.mark.parametrize("loss", [TripletLoss(), EasyPositiveTripletLoss()])
def test_the_monitor_does_not_blame_positives_for_statistics(loss):
    (message,) = said(model_that("in inference", loss), CollapseMonitor(IMAGES, LABELS))
    assert "BatchNormalization" in message
    assert "easy positives" not in message


def test_the_monitor_does_not_advise_what_is_in_use():
    (message,) = said(model_that("always", EasyPositiveTripletLoss()), CollapseMonitor(IMAGES, LABELS))
    assert "Try easier negatives" in message
    (message,) = said(model_that("always"), CollapseMonitor(IMAGES, LABELS))
    assert "Try easy positives" in message


def test_asking_changes_nothing_of_the_model():
    model = model_that("in inference")
    before = [keras.ops.convert_to_numpy(variable.value).copy() for variable in model.variables]
    assert differs_in_training_mode(model, IMAGES[:8], None)
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable.value), old)
    assert not differs_in_training_mode(model_that("always"), IMAGES[:8], None)


def test_what_one_point_is():
    point = np.ones((200, 5), np.float32)
    assert is_one_point(point * np.linspace(0.1, 9, 200, dtype=np.float32)[:, None])
    assert is_one_point(np.zeros((3, 5), np.float32))
    assert is_one_point(point + np.float32(1e-3) * RNG.normal(size=point.shape).astype(np.float32))
    assert not is_one_point(point + np.float32(1e-1) * RNG.normal(size=point.shape).astype(np.float32))
    point[:3] = [1, 0, 0, 0, 0]
    assert not is_one_point(point)
    assert not is_one_point(np.eye(5, dtype=np.float32))
    # Two opposite points have no mean direction, yet are two.
    assert not is_one_point(np.array([[1, 0], [-1, 0]], np.float32))
