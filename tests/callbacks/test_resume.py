"""A run that is killed and started again ends as the run that was not."""

import random
import warnings

import keras
import numpy as np
import pytest

import keras_epos
from keras_epos.curriculum import StagedBatches
from keras_epos.data import AnchorNeighborIndices, balanced_batches, batches

EPOCHS = 5
# Tracing takes longer than these few steps.
EAGER = keras.backend.backend() == "tensorflow"
generator = np.random.default_rng(0)
LABELS = np.arange(48) % 6
ROWS = (np.eye(6)[LABELS] + generator.normal(size=(48, 6))).astype("float32")


class Killed(Exception):
    """A process that ends without another word: nothing of Keras runs after it."""


class KillAt(keras.callbacks.Callback):
    def __init__(self, epoch, batch=1):
        super().__init__()
        self.epoch, self.batch, self.seen = epoch, batch, None

    def on_epoch_begin(self, epoch, logs=None):
        self.seen = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.seen, batch) == (self.epoch, self.batch):
            raise Killed


def network(loss, **compiled):
    layers = [keras.Input((6,)), keras.layers.GaussianNoise(0.1), keras.layers.Dense(5), keras.layers.Dropout(0.3)]
    model = keras_epos.EmbeddingModel(keras.Sequential(layers), 4)
    model.compile(keras.optimizers.Adam(0.01), loss=loss, run_eagerly=EAGER, jit_compile=False, **compiled)
    return model


def memory(folder):
    inner = keras_epos.ContrastiveLoss(positives="random", negatives="random")
    data = balanced_batches(ROWS, LABELS, 3, 4, steps=3, with_ids=True)
    guard = keras_epos.FrozenBaseline(ROWS, LABELS, train=(ROWS, LABELS), k=(1,), restore_best=True)
    stop = keras.callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True)
    plateau = keras.callbacks.ReduceLROnPlateau("val_recall@1", mode="max", patience=1, min_delta=0.5)
    loss = keras_epos.CrossBatchMemory(inner, size=20)
    return network(loss), data, [keras_epos.Resume(folder, data), guard, plateau, stop]


def hierarchy(folder):
    indices = AnchorNeighborIndices(LABELS, 2, 2, 4)
    data = batches(ROWS, indices, steps=3)
    rebuild = keras_epos.HierarchyRebuild(ROWS, LABELS, indices=indices, every=3)
    return (
        network(keras_epos.HierarchicalTripletLoss(6), loss_optimizer=keras.optimizers.SGD(0.1)),
        data,
        [keras_epos.Resume(folder, data), rebuild, keras_epos.CollapseMonitor(ROWS, LABELS, every=2)],
    )


def curriculum(folder):
    parts = np.arange(48) // 6 % 3
    data = StagedBatches(ROWS, LABELS, parts, epochs=(2, 2, 1), classes_per_batch=3, samples_per_class=2, steps=3)
    return network("triplet"), data, [keras_epos.Resume(folder, data), keras_epos.StageByEpoch(data)]


def run(make, folder, kill=None):
    """All that a run leaves; or nothing, where it is killed."""
    random.seed(0)  # Keras draws its seeds from it
    if keras.backend.backend() == "torch":
        keras.utils.set_random_seed(0)
    model, data, callbacks = make(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ends = [KillAt(*kill)] if kill else []
            history = model.fit(data, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[*callbacks, *ends])
        except Killed:
            return None
    variables = [*model.weights, *model.variables, *model.optimizer.variables]
    values = [np.array(keras.ops.convert_to_numpy(one)) for one in variables]
    return values, history.history, [vars(one).get("history") for one in callbacks]


def assert_same(found, expected):
    for one, other in zip(found[0], expected[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert found[1:] == expected[1:]


MAKERS = [
    memory,
    pytest.param(hierarchy, marks=pytest.mark.backend("tensorflow", reason="the same callback everywhere")),
    pytest.param(curriculum, marks=pytest.mark.backend("tensorflow", reason="the same callback everywhere")),
]


@pytest.mark.parametrize("make", MAKERS)
def test_a_resumed_run_is_the_uninterrupted_one(make, tmp_path, capsys):
    whole = run(make, tmp_path / "whole")
    assert run(make, tmp_path / "killed", (0, 2)) is None
    assert run(make, tmp_path / "killed", (2, 0)) is None
    assert run(make, tmp_path / "killed", (4, 2)) is None
    assert_same(run(make, tmp_path / "killed"), whole)
    assert "goes on after epoch 4 of 5" in capsys.readouterr().out
    # What is started after its end trains nothing, and has the same result.
    assert_same(run(make, tmp_path / "killed"), whole)
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["epoch-00004", "epoch-00005"]
