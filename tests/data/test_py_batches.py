"""Batches for Keras on JAX and PyTorch, without TensorFlow; and that they are those of tf.data, where it is there."""

import importlib
import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_epos
from keras_epos.data import AnchorNeighborIndices, BatchIndices, balanced_batches
from keras_epos.data._py_batches import PyBatches

BACKEND = keras.backend.backend()
LABELS = np.tile(np.arange(12), 9)
INPUTS = np.arange(len(LABELS))


@pytest.fixture(autouse=True)
def as_on_jax_and_torch(monkeypatch, request):
    """Let `balanced_batches` do on TensorFlow what it does on the other backends."""
    monkeypatch.setattr(importlib.import_module("keras_epos.data._batches"), "tf_batches", PyBatches)


def rows(dataset):
    return np.stack([x for x, _ in dataset])


def test_is_the_index_stream_from_pass_to_pass():
    indices = BatchIndices(LABELS, 4, 3, seed=7)
    for load in (None, lambda row: row):
        batches = balanced_batches(INPUTS, LABELS, 4, 3, seed=7, steps=6, load=load)
        assert isinstance(batches, keras.utils.PyDataset)
        assert len(batches) == 6
        next(iter(batches))  # a look counts for nothing
        for first in (0, 6, 12):
            np.testing.assert_array_equal(rows(batches), indices(np.arange(first, first + 6)))
        x, y = batches[0]  # asked for again, it is the same again
        np.testing.assert_array_equal(x, indices(12))
        np.testing.assert_array_equal(y, LABELS[x])


def test_resuming_and_shards():
    whole = BatchIndices(LABELS, 4, 3)(np.arange(24))
    late = balanced_batches(INPUTS, LABELS, 4, 3, steps=2, num_shards=3, shard_index=1, start_step=2)
    np.testing.assert_array_equal(np.concatenate([rows(late), rows(late)]), whole[1::3][2:6])
    assert len(balanced_batches(INPUTS, LABELS, 4, 3, num_shards=3)) == 3


def test_the_same_every_pass():
    batches = balanced_batches(INPUTS, LABELS, 4, 3, start_step=5, same_every_pass=True, num_shards=2)
    first = rows(batches)
    np.testing.assert_array_equal(rows(batches), first)
    np.testing.assert_array_equal(first, BatchIndices(LABELS, 4, 3)(np.arange(10, 18, 2)))


def test_endless():
    batches = balanced_batches(INPUTS, LABELS, 4, 3, steps=math.inf, start_step=2)
    assert batches.num_batches is None
    with pytest.raises(TypeError, match="steps_per_epoch"):
        len(batches)
    for _ in range(2):
        found = np.stack([x for (x, _), _ in zip(batches, range(5), strict=False)])
        np.testing.assert_array_equal(found, BatchIndices(LABELS, 4, 3)(np.arange(2, 7)))


class Seen(keras.Model):
    """A model that adds up the codes of its batches, each in the decimal place of its turn."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.turn = self.add_weight(shape=(), initializer="zeros", dtype="int32", trainable=False)
        self.sum = self.add_weight(shape=(48,), initializer="zeros", dtype="int32", trainable=False)

    def call(self, x, training=False):
        if training:
            self.sum.assign_add(
                keras.ops.one_hot(self.turn, 48, dtype="int32") * keras.ops.cast(keras.ops.sum(x), "int32")
            )
            self.turn.assign_add(1)
        return self.dense(x)


def trained(model, batches, **arguments):
    """Fit, and return the sums of the batches, in the order in which they were trained on."""
    before = int(model.turn)
    model.fit(batches, verbose=0, **arguments)
    return keras.ops.convert_to_numpy(model.sum)[before : int(model.turn)]


@pytest.mark.parametrize("load", [None, lambda row: row])
def test_fit_trains_on_each_step_once_in_order(load):
    """Keras shuffles indices, looks at a batch to build the model, and makes iterators that it never reads."""
    sums = BatchIndices(LABELS, 4, 3)(np.arange(45)).sum(axis=1)
    inputs = INPUTS[:, None].astype("float32")
    model = Seen()
    model.compile("sgd", "mse", run_eagerly=BACKEND == "torch")
    batches = balanced_batches(inputs, LABELS, 4, 3, load=load)
    np.testing.assert_array_equal(trained(model, batches, epochs=2), sums[:18])
    np.testing.assert_array_equal(trained(model, batches), sums[18:27])
    np.testing.assert_array_equal(trained(model, batches, epochs=3, steps_per_epoch=3), sums[27:36])
    batches = balanced_batches(inputs, LABELS, 4, 3, load=load, start_step=27)
    np.testing.assert_array_equal(trained(model, batches, epochs=4, initial_epoch=3), sums[27:36])


def test_loads_in_threads_and_keeps_the_order():
    together = threading.Barrier(3, timeout=60)

    def load(path, seed):
        together.wait()  # passes only if three samples are loaded at once
        assert isinstance(path, str)
        return {"number": np.float32(path.split()[1]), "draw": np.random.default_rng(seed.view("uint32")).random(2)}

    paths = [f"photo {number}" for number in range(len(LABELS))]
    arguments = {"load": load, "with_ids": True, "steps": 6}
    whole = list(balanced_batches([Path(path) for path in paths], LABELS, 4, 3, **arguments))
    late = list(balanced_batches(paths, LABELS, 4, 3, start_step=4, **arguments))
    for step, (x, y) in enumerate(whole):
        planned = BatchIndices(LABELS, 4, 3)(step)
        np.testing.assert_array_equal(x["number"], planned)
        np.testing.assert_array_equal(y, np.stack([LABELS[planned], planned], 1))
    for (x, _), (again, _) in zip(whole[4:], late, strict=False):
        np.testing.assert_array_equal(x["draw"], again["draw"])
    assert len(np.unique([x["draw"] for x, _ in whole])) == 6 * 12 * 2


def test_what_cannot_be_loaded():
    def load(row):
        if row in (3, 15, 27):
            raise OSError("cut off")
        return np.float32(row)

    with pytest.raises(
        ValueError, match=r"Received: input number \d+, which gives OSError: cut off.*on_error=\"skip\""
    ):
        list(balanced_batches(INPUTS, LABELS, 4, 3, load=load))
    with pytest.warns(UserWarning, match="Skipped: input number") as caught:
        batches = list(balanced_batches(INPUTS, LABELS, 4, 3, load=load, on_error="skip", with_ids=True, steps=30))
    assert len(caught) == 3
    for x, y in batches:
        np.testing.assert_array_equal(x, y[:, 1])
        np.testing.assert_array_equal(LABELS[y[:, 1]], y[:, 0])
        assert len(set(x.tolist())) == 12
        assert not {3, 15, 27} & set(x.tolist())
    with pytest.raises(ValueError, match=r"one shape.*\(1,\), \(2,\)"):
        next(iter(balanced_batches(INPUTS, LABELS, 4, 3, load=lambda row: np.zeros(1 + row % 2))))
    with pytest.raises(IndexError, match="index=9"):
        balanced_batches(INPUTS, LABELS, 4, 3)[9]


def test_nothing_is_drawn_beyond_the_end_of_a_pass():
    """So that another tree, set between two passes, holds for all of the next one."""
    drawn = []

    class Recorded(AnchorNeighborIndices):
        def __call__(self, steps):
            drawn.append(steps)
            return super().__call__(steps)

    batches = keras_epos.data.batches(INPUTS, Recorded(LABELS, 2, 2, 3), steps=4)
    assert len(list(batches)) == 4
    assert drawn == [0, 1, 2, 3]
    batches[0], batches[1], next(iter(batches))
    assert sorted(drawn)[:5] == [0, 0, 1, 1, 2]
    assert max(drawn) <= 6


def test_neighbors_and_structures():
    labels = np.repeat(np.arange(10), 6)
    indices = AnchorNeighborIndices(labels, 2, 2, 3)
    rows_of = np.arange(60)
    inputs = {"left": rows_of, "right": rows_of * 2}
    batches = keras_epos.data.batches(inputs, indices, steps=4, load=lambda parts: parts)
    for first in (0, 4):
        for step, (x, _) in enumerate(batches):
            np.testing.assert_array_equal(x["left"], indices(first + step))
            np.testing.assert_array_equal(x["right"], 2 * x["left"])
    pairs = balanced_batches([rows_of, rows_of * 2], labels, 4, 3)
    for step, ((left, right), _) in enumerate(pairs):
        np.testing.assert_array_equal(left, BatchIndices(labels, 4, 3)(step))
        np.testing.assert_array_equal(right, 2 * left)


@pytest.mark.backend("jax", reason="cuts integers")
def test_labels_that_jax_would_cut_are_refused():
    import jax

    labels = np.repeat([7, 7 + 2**32], 6)
    with jax.enable_x64(False):
        with pytest.raises(ValueError, match=r"`labels` must be class labels from -2147483648 .*4294967303"):
            balanced_batches(np.arange(12), labels, 2, 3)
        with pytest.raises(ValueError, match="4294967303"):
            keras_epos.curriculum.StagedBatches(np.arange(12), labels, np.zeros(12, int), (1,), weights=(1.0,))
    with jax.enable_x64(True):
        balanced_batches(np.arange(12), labels, 2, 3)


WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = None  # an import of it fails
import keras, numpy as np, keras_epos
images = np.random.default_rng(0).normal(size=(64, 6)).astype("float32") + 3 * np.repeat(np.eye(8, 6), 8, 0)
labels = np.repeat(np.arange(8), 8)
keras.utils.set_random_seed(0)
backbone = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8)])
model = keras_epos.EmbeddingModel(backbone, embedding_dim=4)
model.compile("adam", loss=keras_epos.EasyPositiveTripletLoss())
batches = keras_epos.data.balanced_batches(images, labels, 4, 4, load=lambda image: image)
checked = keras_epos.data.balanced_batches(images, labels, 4, 4, same_every_pass=True)
recall = keras_epos.RecallAtK(images, labels, k=(1,))
history = model.fit(batches, validation_data=checked, epochs=2, callbacks=[recall], verbose=0).history
assert np.isfinite(history["loss"] + history["val_loss"]).all() and min(history["val_recall@1"]) > 0, history
assert not any(name.startswith("tensorflow.") for name in sys.modules)
"""


@pytest.mark.backend("jax", "torch", reason="TensorFlow is what it does without")
def test_trains_and_measures_without_tensorflow():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW],
        env={**os.environ, "KERAS_BACKEND": BACKEND},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
