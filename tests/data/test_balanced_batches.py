import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_epos.data import BatchIndices, balanced_batches, image_loader

LABELS = np.tile(np.arange(12), 9)
INPUTS = np.arange(len(LABELS))


def rows(dataset, steps=None):
    """Return the inputs of each batch, an array `(steps, batch)`."""
    return np.stack([x.numpy() for x, _ in dataset.take(-1 if steps is None else steps)])


def test_is_the_index_stream():
    dataset = balanced_batches(INPUTS, LABELS, 4, 3, seed=7, steps=40)
    np.testing.assert_array_equal(rows(dataset), BatchIndices(LABELS, 4, 3, seed=7)(np.arange(40)))
    for x, y in balanced_batches(INPUTS, LABELS, 4, 3, seed=7, steps=5):
        np.testing.assert_array_equal(LABELS[x.numpy()], y.numpy())


@pytest.mark.parametrize("load", [None, tf.identity])
def test_resuming_equals_the_tail(load):
    whole = rows(balanced_batches(INPUTS, LABELS, 4, 3, steps=40, load=load))
    tail = rows(balanced_batches(INPUTS, LABELS, 4, 3, steps=math.inf, start_step=27, load=load), 13)
    np.testing.assert_array_equal(whole[27:], tail)


def test_shards_share_the_stream_out():
    whole = rows(balanced_batches(INPUTS, LABELS, 4, 3, steps=12))
    parts = [rows(balanced_batches(INPUTS, LABELS, 4, 3, steps=4, num_shards=3, shard_index=i)) for i in range(3)]
    np.testing.assert_array_equal(np.stack(parts, 1).reshape(whole.shape), whole)
    late = balanced_batches(INPUTS, LABELS, 4, 3, steps=2, num_shards=3, shard_index=1, start_step=2)
    np.testing.assert_array_equal(rows(late), parts[1][2:])


def test_cardinality():
    assert balanced_batches(INPUTS, LABELS, 4, 3).cardinality() == len(LABELS) // 12
    assert balanced_batches(INPUTS, LABELS, 4, 3, num_shards=3).cardinality() == 3
    assert balanced_batches(INPUTS, LABELS, 4, 3, steps=5, load=tf.identity).cardinality() == 5
    endless = balanced_batches(INPUTS, LABELS, 4, 3, steps=math.inf)
    assert endless.cardinality() == tf.data.INFINITE_CARDINALITY


def test_passes_go_on():
    dataset = balanced_batches(INPUTS, LABELS, 4, 3, steps=6)
    whole = BatchIndices(LABELS, 4, 3)(np.arange(18))
    np.testing.assert_array_equal(np.concatenate([rows(dataset) for _ in range(3)]), whole)
    endless = balanced_batches(INPUTS, LABELS, 4, 3, steps=math.inf)
    np.testing.assert_array_equal(rows(endless, 3), rows(endless, 3))


def test_the_same_every_pass():
    dataset = balanced_batches(INPUTS, LABELS, 4, 3, steps=4, start_step=3, same_every_pass=True, num_shards=2)
    first = rows(dataset)
    np.testing.assert_array_equal(first, BatchIndices(LABELS, 4, 3)(np.arange(6, 14, 2)))
    np.testing.assert_array_equal(rows(dataset), first)


def test_what_is_shared_out_already_is_not_shared_out_again():
    off = tf.data.experimental.AutoShardPolicy.OFF
    whole = balanced_batches(INPUTS, LABELS, 4, 3)
    part = balanced_batches(INPUTS, LABELS, 4, 3, num_shards=2)
    assert whole.options().experimental_distribute.auto_shard_policy != off
    assert part.options().experimental_distribute.auto_shard_policy == off
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        balanced_batches(INPUTS, LABELS, 4, 3)
        with pytest.raises(ValueError, match="num_shards=2 in the scope of a MirroredStrategy"):
            balanced_batches(INPUTS, LABELS, 4, 3, num_shards=2)


class Recorder(keras.Model):
    """Remember which batches `fit` trains on."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.seen = []

    def call(self, x):
        self.seen.append(x.numpy()[:, 0].astype(int))
        return self.dense(x)


def test_fit_trains_on_each_step_once_and_resumes_exactly():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("records through TensorFlow's eager mode")

    def train(epochs, initial_epoch):
        dataset = balanced_batches(INPUTS, LABELS, 4, 3, start_step=9 * initial_epoch)
        dataset = dataset.map(lambda x, y: (tf.cast(x[:, None], "float32"), tf.cast(y, "float32")))
        model = Recorder()
        model(tf.zeros((1, 1)))  # to build it now: Keras would call it once more on the first batch
        model.seen.clear()
        model.compile("sgd", "mse", run_eagerly=True)
        model.fit(dataset, epochs=epochs, initial_epoch=initial_epoch, verbose=0)
        return np.stack(model.seen)

    np.testing.assert_array_equal(train(3, 0), BatchIndices(LABELS, 4, 3)(np.arange(27)))
    np.testing.assert_array_equal(train(3, 2), BatchIndices(LABELS, 4, 3)(np.arange(18, 27)))


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int32", "uint8"])
@pytest.mark.parametrize("load", [None, tf.identity])
def test_labels_stay_exact(dtype, load):
    base = {"int64": 2**62, "uint64": 2**63 + 2**53, "int32": 2**24, "uint8": 250}[dtype]
    labels = np.repeat(np.array([base, base + 1, base + 3], dtype=dtype), 2)
    _, y = next(iter(balanced_batches(np.arange(6), labels, 3, 2, load=load)))
    assert y.dtype == dtype
    assert sorted(set(y.numpy().tolist())) == [base, base + 1, base + 3]


@pytest.mark.parametrize("structure", [dict, tuple])
@pytest.mark.parametrize("load", [None, lambda part: part])
def test_structures_of_arrays(structure, load):
    images = INPUTS[:, None, None] * np.ones((1, 2, 2), np.float32)
    inputs = {"z": images, "a": INPUTS} if structure is dict else (images, INPUTS)
    x, y = next(iter(balanced_batches(inputs, LABELS[:, None], 4, 3, load=load)))
    first, second = (x["z"], x["a"]) if structure is dict else x
    assert first.shape == (12, 2, 2)
    np.testing.assert_array_equal(first[:, 0, 0], second)
    np.testing.assert_array_equal(LABELS[second], y)


def test_reads_a_memory_map_without_taking_it_in(tmp_path):
    file = np.memmap(tmp_path / "data", np.int64, "w+", shape=(len(INPUTS), 2))
    file[:] = INPUTS[:, None]
    x, _ = next(iter(balanced_batches(file, LABELS, 4, 3)))
    np.testing.assert_array_equal(x[:, 1], BatchIndices(LABELS, 4, 3)(0))


def test_load_gets_a_seed_that_depends_on_the_step_only():
    def noise(_, seed):
        return tf.random.stateless_uniform((), seed)

    whole = rows(balanced_batches(INPUTS, LABELS, 4, 3, load=noise, steps=9))
    again = rows(balanced_batches(INPUTS, LABELS, 4, 3, load=noise, steps=4, start_step=5))
    np.testing.assert_array_equal(whole[5:], again)
    assert len(np.unique(whole)) == whole.size


def test_builds_as_much_for_100_000_classes_as_for_ten(monkeypatch):
    built = []
    original = tf.data.Dataset.__init__

    def counting(self, *args, **kwargs):
        built.append(self)
        original(self, *args, **kwargs)

    monkeypatch.setattr(tf.data.Dataset, "__init__", counting)
    counts = []
    for num_classes in (10, 100_000):
        built.clear()
        labels = np.repeat(np.arange(num_classes), 2)
        x, _ = next(iter(balanced_batches(np.arange(len(labels)), labels, 8, 2)))
        assert x.shape == (16,)
        counts.append(len(built))
    assert counts[0] == counts[1] > 0


def test_pictures_from_paths(tmp_path, write_image):
    paths = [tmp_path / f"{i}.{'png' if i % 2 else 'jpg'}" for i in range(8)]
    for number, path in enumerate(paths):
        write_image(path, seed=number)
    labels = np.arange(8) // 2
    dataset = balanced_batches(paths, labels, 2, 2, load=image_loader(10), steps=3)
    assert dataset.element_spec[0].shape == (4, 10, 10, 3)
    load = image_loader(10)
    indices = BatchIndices(labels, 2, 2)(np.arange(3))
    for (x, _), batch in zip(dataset, indices, strict=True):
        np.testing.assert_array_equal(x, [load(str(paths[i])).numpy() for i in batch])


def test_impossible_requests():
    cases = [
        ({"inputs": INPUTS[:-1]}, r"`inputs`.*\(107,\), 108 labels"),
        ({"inputs": {"a": INPUTS, "b": INPUTS[:5]}}, r"`inputs`.*\(5,\)"),
        ({"classes_per_batch": 13}, "classes_per_batch=13"),
        ({"on_error": "ignore"}, "on_error='ignore'"),
        ({"num_shards": 2, "shard_index": 2}, "shard_index=2, num_shards=2"),
        ({"start_step": -1}, "start_step=-1"),
        ({"steps": 0}, "steps=0"),
        ({"steps": 1.5}, r"steps=1\.5"),
        ({"steps": 5.0}, r"steps=5\.0"),
        ({"steps": True}, "steps=True"),
        ({"start_step": 1.5}, r"`start_step` must be an integer.*1\.5"),
        ({"num_shards": 2.0}, r"num_shards=2\.0"),
        ({"num_shards": 2, "shard_index": 0.5}, r"shard_index=0\.5"),
        ({"same_every_pass": 1}, "same_every_pass=1"),
        ({"seed": 1.5}, r"seed=1\.5"),
        ({"load": "image"}, "load='image'"),
        (
            {"load": image_loader(8)},
            r"inputs of int64 \(108,\), on which it fails: ValueError: `image_loader` must be given",
        ),
        ({"load": tf.strings.length}, r"inputs of int64 \(108,\), on which it fails: TypeError"),
    ]
    for changes, message in cases:
        arguments = {"inputs": INPUTS, "labels": LABELS, "samples_per_class": 3} | changes
        arguments = {"classes_per_batch": 4} | arguments
        with pytest.raises(ValueError, match=message):
            balanced_batches(**arguments)


@pytest.mark.parametrize("load", [None, lambda x: x])
def test_ids_tell_which_sample_it_is(load):
    inputs, labels = np.arange(40, dtype="float32") * 10, np.arange(40, dtype="int32") % 5
    for x, y in balanced_batches(inputs, labels, 3, 4, load=load, with_ids=True, steps=4):
        assert y.dtype == "int64"
        np.testing.assert_array_equal(x, 10 * y[:, 1].numpy())
        np.testing.assert_array_equal(labels[y[:, 1].numpy()], y[:, 0])


def test_labels_changed_afterwards_change_nothing():
    labels = LABELS.copy()
    dataset = balanced_batches(INPUTS, labels, 4, 3)
    labels[:] = 7
    for x, y in dataset:
        np.testing.assert_array_equal(y, LABELS[x.numpy()])


def test_a_list_of_inputs_is_taken_as_fit_takes_it():
    left, right = balanced_batches([INPUTS, INPUTS * 2], LABELS, 4, 3).element_spec[0]
    assert left.shape == right.shape == (12,)
    for load in (None, lambda parts: parts[0] - parts[1]):
        x, _ = next(iter(balanced_batches([INPUTS, INPUTS * 2], LABELS, 4, 3, load=load)))
        first = BatchIndices(LABELS, 4, 3)(0)
        np.testing.assert_array_equal(-x if load else x[1] - x[0], first)


@pytest.mark.parametrize("load", [None, lambda row: row])
def test_nothing_tunes_itself_so_that_a_pass_ends_when_its_last_batch_came(load):
    batches = balanced_batches(np.arange(12), np.arange(12) // 4, 3, 2, load=load, steps=2)
    assert batches.options().autotune.enabled is False
