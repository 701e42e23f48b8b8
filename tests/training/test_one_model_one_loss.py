"""Weights of a loss belong to one model, start anew only with a word, and are not taken for those of another loss."""

import warnings

import keras
import numpy as np
import pytest

from keras_epos import ArcFaceLoss, CosFaceLoss, CrossBatchMemory, EmbeddingModel, TripletLoss, WeightedSum

INPUTS = np.random.default_rng(0).normal(size=(12, 6)).astype("float32")
LABELS = np.arange(12) % 3


def compiled(loss=None):
    model = EmbeddingModel(keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)]), 4)
    if loss is not None:
        model.compile("adam", loss=loss)
    return model


def test_a_loss_of_another_model_is_refused():
    memory = CrossBatchMemory(TripletLoss(), 16, memory_positives=False)
    for loss, part in ((ArcFaceLoss(3), None), (WeightedSum({"memory": memory}), memory)):
        model = compiled(loss)
        model.compile("adam", loss=model.loss)
        with pytest.raises(ValueError, match="belongs to one model"):
            compiled(loss)
        if part is not None:
            with pytest.raises(ValueError, match="belongs to one model"):
                compiled(part)
        compiled(type(loss).from_config(loss.get_config()))
    # What keeps nothing may be shared.
    pairs = TripletLoss()
    compiled(pairs)
    compiled(pairs)


def test_proxies_that_start_anew_are_said_to():
    model = compiled(ArcFaceLoss(3))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*start anew")
        # Nothing is learned yet.
        model.compile("adam", loss=ArcFaceLoss(3))
        model.fit(INPUTS, LABELS, verbose=0)
        proxies = keras.ops.convert_to_numpy(model.loss.proxies)
        model.compile("sgd", loss=model.loss)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model.loss.proxies), proxies)
    model.fit(INPUTS, LABELS, verbose=0)
    with pytest.warns(UserWarning, match=r"ArcFaceLoss start anew.*loss=model\.loss"):
        model.compile("adam", loss=ArcFaceLoss(3))


def test_weights_of_another_loss_are_refused_by_name(tmp_path):
    path = tmp_path / "model.weights.h5"
    compiled(ArcFaceLoss(3)).save_weights(path)
    for loss, message in (
        (ArcFaceLoss(5), "ArcFaceLoss of 5 classes.*ArcFaceLoss of 3 classes"),
        (CosFaceLoss(3), "CosFaceLoss of 3 classes.*ArcFaceLoss of 3 classes"),
    ):
        with pytest.raises(ValueError, match=message):
            compiled(loss).load_weights(path)
    # The network alone, before a loss is there, or with one that keeps nothing.
    compiled().load_weights(path)
    compiled(ArcFaceLoss(3)).load_weights(path)
