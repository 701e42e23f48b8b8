"""CollapseMonitor in `fit`: values, the three reasons for its warning, stopping, and wrong use."""

import warnings

import keras
import numpy as np
import pytest

from keras_epos import CollapseMonitor, EmbeddingModel, TripletLoss, collapse

RNG = np.random.default_rng(0)
LABELS = np.arange(40) % 4
MODES = np.arange(40) % 8
IMAGES = (np.eye(8)[MODES] + 0.1 * RNG.normal(size=(40, 8))).astype(np.float32)
TRAIN = {"x": IMAGES, "y": LABELS, "verbose": 0, "batch_size": 40}


def model_of(layer, loss=None, rate=0.0):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8,)), layer])
    model.compile(keras.optimizers.SGD(rate), loss=loss or TripletLoss())
    return model


def constant_layer():
    return keras.layers.Dense(4, kernel_initializer="zeros", bias_initializer="ones")


def test_values_reach_the_logs():
    model = model_of(keras.layers.Dense(4))
    callback = CollapseMonitor(IMAGES, LABELS, MODES)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        history = model.fit(**TRAIN, epochs=2, callbacks=[callback]).history
    expected = collapse.measure(model.predict(IMAGES, batch_size=128, verbose=0), LABELS, MODES)
    assert callback.initial == expected  # the learning rate is 0
    assert callback.history[-1] == {"epoch": 1, **expected}
    for name in ("intra_inter_ratio", "effective_rank", "coinciding", "mode_recall@1", "cross_mode_distance"):
        assert history[f"val_{name}"] == [expected[name]] * 2
    assert callback.reason is None


def test_batches_and_every():
    model = model_of(keras.layers.Dense(4))
    callback = CollapseMonitor([*IMAGES], LABELS, every=2, prefix="")
    history = model.fit(**TRAIN, epochs=4, callbacks=[callback]).history
    assert [row["epoch"] for row in callback.history] == [0, 1, 3]
    assert len(history["effective_rank"]) == 4
    assert "mode_recall@1" not in history


def test_warns_once_of_points_and_of_the_margin():
    model = model_of(constant_layer())
    callback = CollapseMonitor(IMAGES, LABELS)
    with pytest.warns(UserWarning, match="is collapsing") as caught:
        model.fit(**TRAIN, epochs=4, callbacks=[callback])
    assert len([one for one in caught if "collapsing" in str(one.message)]) == 1
    assert "lie on another one of their class" in callback.reason
    assert len(callback.history) == 4


def test_warns_of_a_loss_at_its_margin_and_stops():
    # Distances are equal, but nothing lies on anything: every sample has a direction of its own.
    model = keras.Sequential([keras.Input((40,)), keras.layers.Dense(40, kernel_initializer="identity")])
    model.compile(keras.optimizers.SGD(0.0), loss=TripletLoss(0.3, negatives="hard"))
    images = np.eye(40, dtype=np.float32)
    callback = CollapseMonitor(images, LABELS, stop_training=True)
    with pytest.warns(UserWarning, match="Training stops here"):
        history = model.fit(images, LABELS, epochs=9, batch_size=40, verbose=0, callbacks=[callback]).history
    assert len(history["loss"]) == 2
    assert "stays at its margin of 0.3" in callback.reason


def test_warns_of_a_falling_rank():
    class OneDirection(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            kernel = np.zeros((8, 4), np.float32)
            kernel[:, 0], kernel[0, 1] = 1, 0.3
            self.model.layers[-1].set_weights([kernel, np.zeros(4)])

    model = model_of(keras.layers.Dense(4))
    callback = CollapseMonitor(IMAGES, LABELS, rank_share=0.5)
    with pytest.warns(UserWarning, match="directions instead of"):
        model.fit(**TRAIN, epochs=1, callbacks=[OneDirection(), callback])
    assert callback.history[0]["coinciding"] <= 0.5


@pytest.mark.backend("tensorflow", reason="the first step of one seed decides it, and seeds draw otherwise")
def test_a_real_run_collapses_and_is_found():
    """Hard negatives from a bad start pull everything to one point, the classic failure."""
    keras.utils.set_random_seed(0)
    model = EmbeddingModel(keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "relu")]), 4)
    loss = TripletLoss(margin=0.2, positives="hard", negatives="hard", average_over="valid")
    model.compile(keras.optimizers.SGD(20.0), loss=loss)
    labels = RNG.integers(0, 4, 40)
    monitor = CollapseMonitor(IMAGES, labels, stop_training=True)
    with pytest.warns(UserWarning, match="is collapsing"):
        model.fit(
            np.tile(IMAGES, (40, 1)), np.tile(labels, 40), batch_size=40, epochs=10, verbose=0, callbacks=[monitor]
        )
    assert len(monitor.history) < 10


def test_warns_of_a_callback_before_it():
    model = model_of(keras.layers.Dense(4))
    stop = keras.callbacks.EarlyStopping("val_effective_rank", mode="max")
    with pytest.warns(UserWarning, match="EarlyStopping stands before CollapseMonitor"):
        model.fit(**TRAIN, epochs=1, callbacks=[stop, CollapseMonitor(IMAGES, LABELS)])
    stop = keras.callbacks.EarlyStopping("val_intra_inter_ratio", mode="min")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.fit(**TRAIN, epochs=1, callbacks=[CollapseMonitor(IMAGES, LABELS), stop])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, "`every` must be an integer of at least 1"),
        ({"rank_share": 2}, "`rank_share` must be in"),
        ({"labels": None}, "`labels` must be given"),
    ],
)
def test_wrong_use(arguments, message):
    with pytest.raises(ValueError, match=message):
        CollapseMonitor(IMAGES, **{"labels": LABELS, **arguments})
