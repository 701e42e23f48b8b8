"""Batches of samples with several labels: P labels x K samples of each, and none twice."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_epos.data import BatchIndices, balanced_batches
from keras_epos.data._batch_indices import without_repeats


def labels_of(seed, samples=60, classes=8, share=0.25):
    return (np.random.default_rng(seed).random((samples, classes)) < share).astype("int64")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(2, 5), st.integers(0, 10**9))
def test_no_sample_twice_and_each_has_the_label_it_stands_for(seed, classes, samples, step):
    labels = labels_of(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        indices = BatchIndices(labels, classes, samples, seed=seed)
    batch = indices(step)
    assert batch.shape == (classes * samples,)
    assert len(set(batch.tolist())) == len(batch)
    # 60 samples with a quarter of the labels each: no label runs out, so each place has its own label.
    groups = labels[batch].reshape(classes, samples, -1)
    assert groups.all(axis=1).any(axis=1).all()
    np.testing.assert_array_equal(indices([step, step])[1], batch)


def test_one_label_a_sample_gives_the_batches_of_plain_labels():
    plain = np.random.default_rng(0).integers(0, 6, 80)
    rows, ints = (BatchIndices(labels, 3, 4, seed=5) for labels in (np.eye(6, dtype=int)[plain], plain))
    np.testing.assert_array_equal(rows(np.arange(40)), ints(np.arange(40)))
    assert rows.num_samples == ints.num_samples == 80


def test_the_rare_label_keeps_its_samples():
    # Label 0 has two samples, both of label 1 too, which has eight others.
    labels = np.zeros((10, 2), int)
    labels[:2, 0] = 1
    labels[:, 1] = 1
    for step in range(20):
        batch = BatchIndices(labels, 2, 2)(step).reshape(2, 2)
        place = next(i for i in range(2) if set(batch[i].tolist()) == {0, 1})
        assert (batch[1 - place] > 1).all()


def test_places_of_a_label_that_runs_out():
    pools = [np.array([0, 1, 2]), np.array([1, 2, 3, 4, 5, 6])]
    drawn = np.array([[0, 1], [1, 2]])
    found = without_repeats(drawn, np.array([3, 6]), lambda place: pools[place], keep_copies=False)
    assert found.tolist() == [[0, 1], [3, 2]]
    pools = [np.array([0, 1]), np.array([0, 1])]
    drawn = np.array([[0, 1], [1, 0]])
    assert without_repeats(drawn, np.array([2, 2]), lambda place: pools[place], False).tolist() == drawn.tolist()
    pools = [np.array([0, 1]), np.array([0, 1]), np.array([5, 6, 7, 8])]
    drawn = np.array([[0, 1], [1, 0], [5, 6]])
    filled = without_repeats(drawn, np.array([2, 2, 4]), lambda place: pools[place], False)
    assert filled.tolist() == [[0, 1], [7, 8], [5, 6]]
    kept = without_repeats(drawn, np.array([2, 2, 4]), lambda place: pools[place], True)
    assert kept.tolist() == drawn.tolist()


@pytest.mark.backend("tensorflow", reason="reads a tf.data.Dataset")
def test_batches_bring_rows_of_labels_and_ids():
    labels = labels_of(1)
    inputs = np.arange(60, dtype="float32")
    for ids in (False, True):
        for x, y in balanced_batches(inputs, labels, 3, 4, with_ids=ids, steps=5):
            rows = x.numpy().astype(int)
            np.testing.assert_array_equal(y[:, :8], labels[rows])
            assert y.shape == (12, 8 + ids)
            if ids:
                np.testing.assert_array_equal(y[:, 8], rows)


@pytest.mark.backend("tensorflow", reason="reads a tf.data.Dataset")
def test_resumes_at_a_step():
    labels, inputs = labels_of(2), np.arange(60)
    whole = [x.numpy() for x, _ in balanced_batches(inputs, labels, 3, 4, steps=20)]
    tail = balanced_batches(inputs, labels, 3, 4, steps=math.inf, start_step=13)
    for (x, _), expected in zip(tail.take(7), whole[13:], strict=True):
        np.testing.assert_array_equal(x, expected)


def test_labels_nobody_has_and_samples_without_any_are_left_out():
    labels = labels_of(3)
    labels[:, 2] = 0
    labels[5] = 0
    with pytest.warns(UserWarning, match="1 of 8 classes"):
        indices = BatchIndices(labels, 4, 3)
    assert indices.num_classes == 7
    assert 5 not in indices(np.arange(200))
    assert BatchIndices(labels, 4, 3, small_classes="repeat").num_classes == 7
    assert BatchIndices(labels.astype(bool), 4, 3, small_classes="repeat")(3).tolist() == indices(3).tolist()


@pytest.mark.parametrize("labels", [np.full((6, 2), 2), np.zeros((6, 2)), np.zeros((6, 2, 1), int)])
def test_rows_must_be_zeros_and_ones(labels):
    with pytest.raises(ValueError, match="zeros and ones of shape"):
        BatchIndices(labels, 1, 2)
