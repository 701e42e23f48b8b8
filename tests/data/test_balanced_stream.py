import itertools
import warnings

import keras
import numpy as np
import pytest

from keras_epos.data import balanced_batches, balanced_stream

RNG = np.random.default_rng(0)


def pairs(labels):
    return [({"number": np.int64(number)}, label) for number, label in enumerate(labels)]


def random_labels(num_samples=400, num_classes=12):
    return np.random.default_rng(3).integers(0, num_classes, num_samples)


@pytest.mark.filterwarnings("ignore:.*stood in no batch")
def test_each_batch_is_balanced_and_no_sample_comes_twice():
    for num_classes, shape, size in ((12, (4, 3), 60), (12, (4, 3), 400), (4, (4, 2), 8), (30, (3, 2), 40)):
        labels = random_labels(num_classes=num_classes)
        seen = []
        for x, y in balanced_stream(pairs(labels), *shape, buffer_size=size, passes=1):
            np.testing.assert_array_equal(labels[x["number"]], y)
            by_class = y.reshape(shape)
            assert (by_class == by_class[:, :1]).all()
            assert len(set(by_class[:, 0].tolist())) == shape[0]
            seen += x["number"].tolist()
        assert len(seen) == len(set(seen)) > 0


def test_the_buffer_is_bounded_and_what_was_left_out_is_counted():
    labels = random_labels()
    taken, given, read = [], [], 0

    def stream():
        nonlocal read
        for pair in pairs(labels):
            read += 1
            assert read - len(taken) <= 61  # 60 wait, and one is on its way
            yield pair

    def train():
        for x, _ in balanced_stream(stream(), 4, 3, buffer_size=60):
            taken.extend(x["number"].tolist())
            given.append(x["number"])

    with pytest.warns(UserWarning, match=r"of 400 samples stood in no batch of this pass: 0 left") as caught:
        train()
    assert str(caught[0].message).startswith(f"{400 - len(taken)} of 400")
    assert max(np.abs(np.diff(np.concatenate(given)))) > 12  # drawn, not passed through


def test_a_stream_of_one_class_after_the_other():
    labels = np.repeat(np.arange(10), 40)
    with pytest.raises(ValueError, match=r"4 classes of 3 samples among 60 in a row.* a stream of 400 samples without"):
        list(balanced_stream(pairs(labels), 4, 3, buffer_size=60, passes=1))
    with pytest.warns(UserWarning, match=r"[1-9]\d* left a full buffer"):
        assert list(balanced_stream(pairs(labels), 3, 3, buffer_size=60, passes=1))


def test_repeats_from_the_seed_and_begins_anew():
    stream = pairs(random_labels(120))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        once, again, other = (
            [x["number"].tolist() for x, _ in balanced_stream(stream, 4, 3, buffer_size=60, seed=seed, passes=2)]
            for seed in (5, 5, 6)
        )
    assert once == again != other
    first = once[: len(once) // 2]
    assert first != once[len(once) // 2 :]
    endless = balanced_stream(stream, 4, 3, buffer_size=60, seed=5)
    with pytest.warns(UserWarning, match="stood in no batch"):
        assert [x["number"].tolist() for x, _ in itertools.islice(endless, len(once))] == once


def test_arguments_and_pairs_are_checked():
    stream = pairs(random_labels(50))
    for change, message in (
        ({"buffer_size": 11}, "`buffer_size` must be an integer of at least 12"),
        ({"seed": 1.5}, r"seed=1\.5"),
        ({"passes": 0}, "passes=0"),
        ({"samples": iter(stream), "passes": 2}, "cannot begin again"),
        ({"samples": 5}, "a int"),
    ):
        with pytest.raises(ValueError, match=message):
            balanced_stream(**{"samples": stream, "classes_per_batch": 4, "samples_per_class": 3, **change})
    for bad, message in (
        ([1, 2], "a int"),
        ([(1, 2.0)], "dtype float64"),
        ([(np.zeros(3), np.arange(3))], r"shape \(3,\).*unbatch"),
    ):
        with pytest.raises(ValueError, match=message):
            next(balanced_stream(bad, 4, 3))


def test_what_comes_one_after_the_other_is_referred_to_it():
    for stream in ((pair for pair in pairs(range(9))), iter([1, 2]), {1, 2}):
        with pytest.raises(ValueError, match=r"Received: a \w+, which comes one .*balanced_stream"):
            balanced_batches(stream, None)


@pytest.mark.backend("tensorflow", reason="tf.data")
def test_a_tf_data_set():
    import tensorflow as tf

    inputs, labels = RNG.normal(size=(80, 5)).astype("float32"), RNG.integers(0, 6, 80)
    dataset = tf.data.Dataset.from_tensor_slices((inputs, labels))
    with pytest.raises(ValueError, match=r"a _TensorSliceDataset, .*balanced_stream"):
        balanced_batches(dataset, labels)
    with pytest.raises(ValueError, match=r"shape \(8,\).*unbatch"):
        next(balanced_stream(dataset.batch(8), 2, 2))
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(6)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        history = model.fit(balanced_stream(dataset, 3, 4, buffer_size=40), epochs=2, steps_per_epoch=8, verbose=0)
    assert len(history.history["loss"]) == 2
