"""A run that is killed and started again ends as the run that was not."""

import random
import shutil
import warnings

import keras
import numpy as np
import pytest

import keras_epos
from keras_epos.callbacks import _run_state
from keras_epos.callbacks._checkpoints import SUMS, Checkpoints
from keras_epos.curriculum import StagedBatches
from keras_epos.data import AnchorNeighborIndices, balanced_batches, batches

EPOCHS = 3
IS_TENSORFLOW = keras.backend.backend() == "tensorflow"
LABELS = np.arange(48) % 6
ROWS = (np.eye(6)[LABELS] + np.random.default_rng(0).normal(size=(48, 6))).astype("float32")


class Killed(Exception):
    """Nothing of Keras runs after it."""


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
    # Tracing takes longer than these few steps.
    model.compile(keras.optimizers.Adam(0.01), loss=loss, run_eagerly=IS_TENSORFLOW, jit_compile=False, **compiled)
    return model


def memory(folder):
    inner = keras_epos.ContrastiveLoss(positives="random", negatives="random")
    data = balanced_batches(ROWS, LABELS, 3, 4, steps=3, with_ids=True)
    guard = keras_epos.FrozenBaseline(ROWS, LABELS, train=(ROWS, LABELS), k=(1,), restore_best=True)
    plateau = keras.callbacks.ReduceLROnPlateau("val_recall@1", mode="max", patience=1, min_delta=0.5)
    loss = keras_epos.CrossBatchMemory(inner, size=20)
    return network(loss), data, [keras_epos.Resume(folder, data), guard, plateau]


def hierarchy(folder):
    indices = AnchorNeighborIndices(LABELS, 2, 2, 4)
    data = batches(ROWS, indices, steps=3)
    rebuild = keras_epos.HierarchyRebuild(ROWS, LABELS, indices=indices, every=2)
    model = network(keras_epos.HierarchicalTripletLoss(6), loss_optimizer=keras.optimizers.SGD(0.1))
    monitor = keras_epos.CollapseMonitor(ROWS, LABELS, every=2)
    return model, data, [keras_epos.Resume(folder, data), rebuild, monitor]


def neighbors(folder):
    """A tree that no loss keeps; and a start that the end looks back to."""
    indices = AnchorNeighborIndices(LABELS, 2, 2, 4)
    data = batches(ROWS, indices, steps=3)
    rebuild = keras_epos.HierarchyRebuild(ROWS, LABELS, indices=indices, every=2)
    recall = keras_epos.RecallAtK(ROWS, LABELS, k=(1,), metrics="recall", baseline=False)
    best = keras_epos.BestInterpolation(recall, shares=(0, 0.5, 1))
    stop = keras.callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True)
    return network("triplet"), data, [keras_epos.Resume(folder, data), rebuild, stop, best]


def curriculum(folder):
    parts = np.arange(48) // 6 % 3
    data = StagedBatches(ROWS, LABELS, parts, epochs=(1, 1, 1), classes_per_batch=3, samples_per_class=2, steps=3)
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
    values = [np.array(keras.ops.convert_to_numpy(one)) for one in (*model.variables, *model.optimizer.variables)]
    return values, history.history, [vars(one).get("history") for one in callbacks]


def assert_same(found, expected):
    for one, other in zip(found[0], expected[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert found[1:] == expected[1:]


on_tensorflow = pytest.mark.backend("tensorflow", reason="the same callback on all")


@pytest.mark.parametrize(
    "make", [memory, *(pytest.param(make, marks=on_tensorflow) for make in (hierarchy, neighbors, curriculum))]
)
def test_a_resumed_run_is_the_uninterrupted_one(make, tmp_path, capsys):
    whole = run(make, tmp_path / "whole")
    folder = tmp_path / "killed"
    assert run(make, folder, (1, 1)) is None
    assert_same(run(make, folder), whole)
    assert "goes on after epoch 1 of 3" in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == ["epoch-00002", "epoch-00003"]
    if make in (memory, neighbors):  # A program that is started after its end trains nothing, and has the same result.
        assert_same(run(make, folder), whole)


# --- a plain model of Keras


def plain(folder, learning_rate=0.1, seed=0, **arguments):
    keras.utils.set_random_seed(0) if not IS_TENSORFLOW else random.seed(0)
    data = balanced_batches(ROWS, LABELS, 3, 4, steps=2, seed=seed, **arguments)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(learning_rate, momentum=0.9), loss, run_eagerly=IS_TENSORFLOW)
    return model, data, keras_epos.Resume(folder, data)


def fit(model, data, *callbacks, epochs=3, **arguments):
    return model.fit(data, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks), **arguments).history


def kernel(model):
    return keras.ops.convert_to_numpy(model.layers[0].kernel)


def test_of_a_damaged_checkpoint_the_one_before_is_taken_with_a_warning(tmp_path):
    model, data, resume = plain(tmp_path / "whole")
    fit(model, data, resume)
    killed, data, resume = plain(tmp_path / "killed")
    with pytest.raises(Killed):
        fit(killed, data, resume, KillAt(2, 0))
    (tmp_path / "killed" / "epoch-00002" / "latest.weights.h5").write_bytes(b"")
    again, data, resume = plain(tmp_path / "killed")
    with pytest.warns(UserWarning, match=r"epoch-00002 is damaged \(latest.*; the one before is taken: epoch-00001"):
        history = fit(again, data, resume)
    np.testing.assert_array_equal(kernel(again), kernel(model))
    assert len(history["loss"]) == 3
    # The next training of the model begins with its first epoch.
    assert len(fit(again, data, epochs=2)["loss"]) == 2


def test_what_another_run_left_is_refused(tmp_path):
    model, data, resume = plain(tmp_path / "run")
    fit(model, data, resume, epochs=1)
    for settings, what in (
        ({"learning_rate": 0.2}, r"optimizer.config.learning_rate \(0.2"),
        ({"seed": 1}, r"batches.seed \(1, was 0\)"),
        ({"start_step": 4}, r"batches.start_step \(4, was 0\)"),
    ):
        model, data, resume = plain(tmp_path / "run", **settings)
        with pytest.raises(ValueError, match=rf"`folder` must be new, or hold this run. Received: .*{what}"):
            fit(model, data, resume)
    model, data, resume = plain(tmp_path / "run")
    with pytest.raises(ValueError, match=r"`callbacks` must begin with Resume.*Received: RecallAtK, Resume"):
        fit(model, data, keras_epos.RecallAtK(ROWS, LABELS, baseline=False), resume)
    with pytest.raises(ValueError, match=r"`batches` must have the steps of an epoch. Received: 2 steps, and 1 in"):
        fit(model, data, resume, steps_per_epoch=1)
    with pytest.raises(ValueError, match=r"`batches` must be a data set of.*Received: a list"):
        keras_epos.Resume(tmp_path / "run", [(ROWS, LABELS)])
    endless = balanced_batches(ROWS, LABELS, 3, 4, steps=np.inf)
    # An epoch later `start_epoch` would refuse it, too.
    with pytest.raises(ValueError, match=r"`batches` must have an end.*Received: an endless data set"):
        fit(model, endless, keras_epos.Resume(tmp_path / "endless", endless), steps_per_epoch=1)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="`folder` must be a folder, or be new"):
        keras_epos.Resume(tmp_path / "file", data)


@pytest.mark.backend("tensorflow", reason="the others build it before callbacks begin")
def test_a_model_that_is_not_built_is_refused(tmp_path):
    unbuilt = keras.Sequential([keras.layers.Dense(6)], name="late")
    unbuilt.compile(loss="sparse_categorical_crossentropy")
    # What it writes could not be restored.
    with pytest.raises(ValueError, match=r"`model` must be built before `fit`.*Received: late, without weights"):
        unbuilt.fit(ROWS, LABELS, verbose=0, callbacks=[keras_epos.Resume(tmp_path / "unbuilt", None)])


def test_a_run_that_a_callback_stopped_stays_stopped(tmp_path):
    def stop():
        return keras.callbacks.EarlyStopping("loss", mode="max", patience=1, min_delta=100)

    model, data, resume = plain(tmp_path)
    history = fit(model, data, resume, stop(), epochs=9)
    assert len(history["loss"]) == 2
    again, data, resume = plain(tmp_path)
    assert fit(again, data, resume, stop(), epochs=9) == history
    np.testing.assert_array_equal(kernel(again), kernel(model))
    # More epochs are another matter.
    again, data, resume = plain(tmp_path)
    assert len(fit(again, data, resume, epochs=10)["loss"]) == 10


@on_tensorflow
def test_a_run_that_goes_on_with_its_first_batches_is_told(tmp_path):
    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    data = balanced_batches(ROWS, LABELS, 3, 4, steps=3)
    with pytest.raises(Killed):
        network("triplet").fit(data, epochs=3, verbose=0, callbacks=[backup(), KillAt(2)])
    data = balanced_batches(ROWS, LABELS, 3, 4, steps=3)
    with pytest.warns(UserWarning, match=r"`fit` begins with epoch 3, and the data set with the batches of epoch 1"):
        network("triplet").fit(data, epochs=3, verbose=0, callbacks=[backup()])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for start_step, epoch in ((6, 0), (0, 2)):
            data = balanced_batches(ROWS, LABELS, 3, 4, steps=3, start_step=start_step)
            data.start_epoch(epoch)
            network("triplet").fit(data, epochs=3, initial_epoch=2, verbose=0)


def test_an_epoch_of_an_endless_data_set_needs_steps():
    endless = balanced_batches(ROWS, LABELS, 3, 4, steps=np.inf)
    with pytest.raises(ValueError, match=r"`steps_per_epoch` must be given.*Received: steps_per_epoch=None"):
        network("triplet").fit(endless, verbose=0)
    with pytest.warns(UserWarning, match=r"`fit` begins with epoch 3, and the data set .* with start_step=2"):
        network("triplet").fit(endless, epochs=3, initial_epoch=2, steps_per_epoch=1, verbose=0)


def test_a_data_set_goes_on_at_any_epoch():
    data = balanced_batches(ROWS, LABELS, 3, 4, steps=3)
    passes = [[keras.ops.convert_to_numpy(x) for x, _ in data] for _ in range(3)]
    data.start_epoch(1)
    for _ in range(2):
        expected, passes = passes[1], passes[1:]
        for (found, _), other in zip(data, expected, strict=True):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), other)
    endless = balanced_batches(ROWS, LABELS, 3, 4, steps=np.inf)
    endless.start_epoch(0)
    with pytest.raises(ValueError, match=r"`steps` must be finite for a run that goes on.*steps=math.inf and epoch=2"):
        endless.start_epoch(2)


# --- files


def harmed(path, how):
    content = path.read_bytes()
    middle = len(content) // 2
    if how == "removed":
        path.unlink()
    elif how == "changed":
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    else:
        path.write_bytes(content[: middle if how == "cut" else 0])


def write(path):
    # Two sums of one length: cut in the middle a file of them is a whole one, of one file.
    for name in ("values", "others"):
        (path / name).write_text(f"the {name} of a checkpoint")


@pytest.mark.parametrize("name", ["values", SUMS])
@pytest.mark.parametrize("how", ["changed", "cut", "emptied", "removed"])
def test_damage_is_found(how, name, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.newest() is None
    for epoch in (9, 10, 11):
        checkpoints.write(epoch, write)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-00010", "epoch-00011"]
    assert checkpoints.newest().name == "epoch-00011"
    harmed(tmp_path / "epoch-00011" / name, how)
    with pytest.warns(UserWarning, match=r"epoch-00011 is damaged .*the one before is taken: epoch-00010"):
        assert checkpoints.newest().name == "epoch-00010"
    harmed(tmp_path / "epoch-00010" / name, how)
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(ValueError, match=r"whole. Received: .*epoch-00011, epoch-00010 are damaged"),
    ):
        checkpoints.newest()


def test_a_checkpoint_is_whole_or_not_there(tmp_path):
    def fail(path):
        write(path)
        raise OSError("no space left")

    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(1, write)
    (tmp_path / ".unfinished-by-a-killed-process").mkdir()
    with pytest.raises(OSError, match="no space"):
        checkpoints.write(2, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-00001"]
    shutil.rmtree(tmp_path / "epoch-00001" / SUMS, ignore_errors=True)
    checkpoints.write(1, write)  # in place of what stood there
    assert checkpoints.newest().name == "epoch-00001"


def test_values_come_back_as_they_were(tmp_path):
    values = {
        "plain": [None, True, 3, 0.1, float("inf"), "text", {"a": [1.5]}],
        "arrays": [np.arange(3, dtype="int8"), np.float32(0.1), np.zeros((0, 2))],
        "tensor": keras.ops.convert_to_tensor([0.1, 2.0], dtype="bfloat16"),
    }
    _run_state.write(tmp_path, values)
    found = _run_state.read(tmp_path)
    assert found["plain"] == values["plain"]
    for one, other in zip(found["arrays"], values["arrays"], strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found["tensor"], np.float32([0.10009765625, 2]))
    for value in (object(), np.array([None]), {1: 2}):
        with pytest.raises(TypeError, match=r"`run_state` must name attributes of plain values.*Received: state.a.b"):
            _run_state.write(tmp_path, {"a": {"b": value}})
