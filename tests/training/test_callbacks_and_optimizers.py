"""Keras's callbacks with every form of optimizer, under every policy."""

import itertools

import keras
import numpy as np
import pytest
from keras import callbacks, optimizers

from keras_epos import ArcFaceLoss, EmbeddingModel

INPUTS = np.random.default_rng(0).normal(size=(24, 6)).astype("float32")
LABELS = np.arange(24) % 4

SCHEDULE = optimizers.schedules.ExponentialDecay(0.01, 1, 0.5)
FORMS = {
    "plain": lambda: {"optimizer": optimizers.Adam(0.01)},
    "schedule": lambda: {"optimizer": optimizers.Adam(SCHEDULE), "loss_optimizer": optimizers.Adam(SCHEDULE)},
    "loss": lambda: {"optimizer": optimizers.Adam(0.01), "loss_optimizer": optimizers.Adam(0.01)},
    "backbone": lambda: {"optimizer": optimizers.Adam(0.01), "backbone_optimizer": optimizers.SGD(0.01)},
    "accumulation": lambda: three_of(gradient_accumulation_steps=2),
    "ema": lambda: three_of(use_ema=True, ema_momentum=0.5),
}


def three_of(**settings):
    names = ("optimizer", "backbone_optimizer", "loss_optimizer")
    return {name: optimizers.Adam(0.01, **settings) for name in names}


# One of each on backends that compile every fit.
POLICIES = ["float32", "mixed_float16", "mixed_bfloat16"]
CASES = list(itertools.product(POLICIES, FORMS))
if keras.backend.backend() != "torch":
    CASES = [("mixed_float16", "backbone"), ("mixed_float16", "ema"), ("float32", "accumulation")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("policy", "form"), CASES)
def test_callbacks_act_and_what_they_save_is_whole(policy, form, tmp_path):
    keras.utils.set_random_seed(0)
    model = EmbeddingModel(keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)]), 4, dtype=policy)
    model.compile(loss=ArcFaceLoss(4, scale=8.0), **FORMS[form]())
    acting = [
        callbacks.EarlyStopping("loss", patience=5, restore_best_weights=True),
        callbacks.TerminateOnNaN(),
        callbacks.BackupAndRestore(tmp_path / "backup"),
    ]
    if form != "schedule":
        # The rate is set to 0.1 times what it was, then once more as the loss never falls by 100.
        plateau = callbacks.ReduceLROnPlateau("loss", factor=0.1, patience=1, min_delta=100.0, min_lr=0)
        acting += [callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.1 if epoch == 0 else rate), plateau]
    if form == "ema":
        acting.append(callbacks.SwapEMAWeights(swap_on_epoch=True))
    saved = callbacks.ModelCheckpoint(tmp_path / "model.keras")
    model.fit(INPUTS, LABELS, batch_size=12, epochs=2, verbose=0, callbacks=[*acting, saved])
    rates = [
        keras.ops.convert_to_numpy(one.learning_rate)
        for one in getattr(model.optimizer, "optimizers", [model.optimizer])
    ]
    assert len(rates) == len(FORMS[form]())
    if form != "schedule":
        np.testing.assert_allclose(rates, 0.0001, rtol=1e-4)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is type(model.optimizer)
    for one, other in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other))


def test_weights_of_classes_are_weights_of_anchors():
    keras.utils.set_random_seed(0)
    model = EmbeddingModel(keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)]), 4)
    model.compile(optimizers.SGD(0.0), loss="triplet")
    weights = {0: 1.0, 1: 0.5, 2: 0.0, 3: 2.0}
    by_class = model.fit(INPUTS, LABELS, batch_size=24, class_weight=weights, verbose=0).history["loss"]
    by_sample = model.evaluate(
        INPUTS, LABELS, batch_size=24, sample_weight=np.vectorize(weights.get)(LABELS), verbose=0, return_dict=True
    )
    assert by_class[0] == pytest.approx(by_sample["loss"], rel=1e-5)
