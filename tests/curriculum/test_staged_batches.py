"""Stages of a curriculum: who takes part, with which weight, and the same again after a stop."""

import keras
import numpy as np
import pytest

import keras_epos
from keras_epos import curriculum
from keras_epos.data import BatchIndices

LABELS = np.repeat(np.arange(4), 15)
PARTS = np.tile(np.repeat([0, 1, 2], 5), 4)
INPUTS = np.random.default_rng(0).normal(size=(60, 6)).astype("float32")
INPUTS += LABELS[:, None]


def batches(epochs=(2, 1, 2), **arguments):
    return curriculum.StagedBatches(INPUTS, LABELS, PARTS, epochs, **{"batch_size": 8, "steps": 5, **arguments})


def classifier():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(4)])
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def embedder():
    keras.utils.set_random_seed(0)
    model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((6,)), keras.layers.Dense(8)]), 4)
    model.compile(keras.optimizers.Adam(0.01), keras_epos.TripletLoss(positives="easy"))
    return model


class Seen(keras.callbacks.Callback):
    """The logs of each epoch, and a stop after some epochs as a crash would be."""

    def __init__(self, crash_after=None):
        super().__init__()
        self.crash_after, self.logs = crash_after, []

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append(dict(logs))

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.crash_after:
            raise KeyboardInterrupt


KINDS = {"shuffled": {}, "balanced": {"classes_per_batch": 4, "samples_per_class": 2, "batch_size": 128}}


@pytest.mark.parametrize("kind", KINDS)
def test_a_stage_holds_its_parts_and_those_before(kind):
    staged = batches(**KINDS[kind])
    for epoch, stage in enumerate([0, 0, 1, 2, 2, 2, 2]):
        assert staged.stage(epoch) == stage
        seen = np.concatenate([staged.indices(epoch, batch) for batch in range(5)])
        assert set(PARTS[seen]) == set(range(stage + 1))
        assert len(seen) == 40


def test_batches_hold_inputs_labels_and_weights():
    staged = batches((0, 0, 1), weights=(1, 0.5, 0.25))
    inputs, labels, weights = staged[3]
    rows = staged.indices(0, 3)
    np.testing.assert_array_equal(inputs, INPUTS[rows])
    np.testing.assert_array_equal(labels, LABELS[rows])
    np.testing.assert_array_equal(weights, np.array([1, 0.5, 0.25])[PARTS[rows]])
    assert weights.dtype == np.float32
    assert len(list(staged)) == staged.num_batches == 5


def test_shuffled_batches_see_each_sample_of_the_stage_once_before_any_comes_again():
    staged = batches((1, 1, 1), batch_size=7, steps=20)
    for epoch, size in enumerate((20, 40, 60)):
        seen = np.concatenate([staged.indices(epoch, batch) for batch in range(20)])
        for start in range(0, 140 - size, size):
            assert len(set(seen[start : start + size])) == size
        assert list(seen[:size]) != sorted(seen[:size])
    # Each stage shuffles in its own way, even one that adds no part, and by the seed.
    again = curriculum.StagedBatches(INPUTS, LABELS, np.zeros(60, int), (1, 1, 1), batch_size=60, steps=1)
    orders = {tuple(again.indices(epoch, 0)) for epoch in range(3)}
    other = curriculum.StagedBatches(INPUTS, LABELS, np.zeros(60, int), (1, 1, 1), batch_size=60, steps=1, seed=9)
    assert len(orders | {tuple(other.indices(epoch, 0)) for epoch in range(3)}) == 6


def test_balanced_batches_are_the_index_stream_of_the_stage():
    staged = batches(**KINDS["balanced"], seed=3)
    rows = np.flatnonzero(PARTS <= 1)
    stream = BatchIndices(LABELS[rows], 4, 2, seed=3)
    np.testing.assert_array_equal(staged.indices(2, 4), rows[stream(4)])
    rows = np.flatnonzero(PARTS <= 2)
    stream = BatchIndices(LABELS[rows], 4, 2, seed=3)
    np.testing.assert_array_equal(staged.indices(4, 1), rows[stream(5 + 1)])


def test_inputs_may_be_structures_and_paths_and_are_loaded():
    paths = [f"{number}.jpg" for number in range(60)]
    staged = curriculum.StagedBatches(
        {"image": paths, "extra": INPUTS}, LABELS, PARTS, (1, 1, 1), 4, load=lambda inputs: inputs["image"]
    )
    assert staged[0][0].tolist() == [paths[row].encode() for row in staged.indices(0, 0)]
    assert staged.num_batches == 15


@pytest.mark.parametrize("make", [classifier, embedder])
def test_a_run_that_crashed_goes_on_as_if_it_had_not(make, tmp_path):
    kind = KINDS["balanced" if make is embedder else "shuffled"]

    def fit(model, crash_after=None):
        staged, seen = batches(**kind), Seen(crash_after)
        backup = keras.callbacks.BackupAndRestore(tmp_path / make.__name__)
        calls = [keras_epos.StageByEpoch(staged), backup, seen]
        try:
            model.fit(staged, epochs=5, shuffle=False, verbose=0, callbacks=calls)
        except KeyboardInterrupt:
            assert crash_after is not None
        return seen.logs

    whole = batches(**kind)
    expected = make().fit(
        whole, epochs=5, shuffle=False, verbose=0, callbacks=[keras_epos.StageByEpoch(whole)]
    ).history  # fmt: skip
    assert expected["stage"] == [0, 0, 1, 2, 2]
    first = fit(make(), crash_after=3)
    second = fit(make())
    assert len(first) == 3
    assert len(second) == 2
    losses = [logs["loss"] for logs in first + second]
    np.testing.assert_allclose(losses, expected["loss"], rtol=1e-4)
    assert [logs["stage"] for logs in first + second] == expected["stage"]


def test_initial_epoch_starts_in_its_stage():
    staged, seen = batches(), Seen()
    calls = [keras_epos.StageByEpoch(staged), seen]
    classifier().fit(staged, epochs=4, initial_epoch=2, shuffle=False, verbose=0, callbacks=calls)
    assert [logs["stage"] for logs in seen.logs] == [1, 2]


def test_without_the_callback_training_stops_with_advice():
    with pytest.raises(ValueError, match=r"keras_epos\.StageByEpoch\(batches\)"):
        classifier().fit(batches(), epochs=5, verbose=0)


def test_weights_of_zero_train_nothing():
    model, staged = classifier(), batches((0, 0, 1), weights=(0, 0, 0))
    before = [np.array(weight) for weight in model.get_weights()]
    model.fit(staged, epochs=1, verbose=0, callbacks=[keras_epos.StageByEpoch(staged)])
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_split_can_be_passed_as_it_is():
    split = curriculum.split_by(np.arange(60.0), LABELS)
    staged = curriculum.StagedBatches(INPUTS, LABELS[:, None], split, (1, 0, 0), 4)
    assert set(split.parts[staged.indices(0, 0)]) == {0}
    assert staged[0][1].shape == (4, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": (1, 1)}, "`epochs` and `weights` must have an entry for each of 3 parts"),
        ({"epochs": (0, 0, 0)}, "`epochs` must be integers of at least 0, not all 0"),
        ({"epochs": (1.5, 1, 1)}, "`epochs` must be integers"),
        ({"epochs": (True, 1, 1)}, "`epochs` must be integers"),
        ({"seed": 1.5}, r"`seed` must be an integer. Received: seed=1\.5"),
        ({"weights": (1, 1, -1)}, "`weights` must be finite and at least 0"),
        ({"weights": (1, 1)}, "`epochs` and `weights` must"),
        ({"classes_per_batch": 4}, "`samples_per_class` must be given with"),
        ({"classes_per_batch": 5, "samples_per_class": 2}, "`classes_per_batch` must be at most"),
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1"),
        ({"steps": 0}, "`steps` must be an integer of at least 1"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        batches(**arguments)


@pytest.mark.parametrize("parts", [PARTS[:9], PARTS * 0.5, PARTS - 1])
def test_wrong_parts_are_named(parts):
    with pytest.raises(ValueError, match="`parts` must be an integer of at least 0 for each of 60 labels"):
        curriculum.StagedBatches(INPUTS, LABELS, parts)


def test_a_first_stage_without_samples_is_named():
    with pytest.raises(ValueError, match="`parts` must have samples for the first stage"):
        curriculum.StagedBatches(INPUTS, LABELS, np.maximum(PARTS, 1))


def test_the_labels_are_copied_and_epochs_are_integers():
    labels = LABELS.copy()
    staged = curriculum.StagedBatches(INPUTS, labels, PARTS, (2, 1, 2), 8)
    labels[:] = 3
    _, y, _ = staged[0]
    np.testing.assert_array_equal(y, LABELS[staged.indices(0, 0)])
    with pytest.raises(ValueError, match=r"`epoch` must be an integer of at least 0. Received: epoch=1\.5"):
        staged.start_epoch(1.5)
