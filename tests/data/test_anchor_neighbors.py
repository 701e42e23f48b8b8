"""Batches of classes and their neighbors: what stands in them, and that they are a function of step and tree alone."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_epos.data import AnchorNeighborIndices, batches
from keras_epos.hierarchy import ClassHierarchy


def on_a_circle(names):
    """A tree of classes whose neighbors are those beside them on a circle."""
    angles = 2 * np.pi * np.arange(len(names)) ** 1.01 / len(names)
    return ClassHierarchy(0.9 * np.stack([np.cos(angles), np.sin(angles)], 1), np.full(len(names), 9), np.array(names))


@st.composite
def requests(draw):
    anchors, together = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    number = draw(st.integers(anchors * together, 24))
    sizes = draw(st.lists(st.integers(3, 9), min_size=number, max_size=number))
    labels = np.repeat(np.arange(number) * 7 - 30, sizes)
    draw(st.randoms(use_true_random=False)).shuffle(labels)
    return labels, anchors, together, draw(st.integers(0, 2**70))


@settings(max_examples=60, deadline=None)
@given(requests(), st.integers(0, 10**12), st.booleans())
def test_a_batch_has_distinct_classes_and_distinct_samples(request, step, with_tree):
    labels, anchors, together, seed = request
    hierarchy = on_a_circle(np.unique(labels)) if with_tree else None
    indices = AnchorNeighborIndices(labels, anchors, together, 3, seed=seed, hierarchy=hierarchy)
    batch = indices(step)
    assert batch.shape == (anchors * together * 3,)
    assert len(set(batch.tolist())) == len(batch)
    drawn = labels[batch].reshape(-1, 3)
    assert (drawn == drawn[:, :1]).all()
    assert len(set(drawn[:, 0].tolist())) == anchors * together
    if with_tree:
        # Each stands before its nearest, but for those that stand elsewhere in the batch.
        groups = drawn[:, 0].reshape(anchors, together)
        for place, (anchor, *near) in enumerate(groups.tolist()):
            taken = {*groups[:, 0].tolist(), *groups[:place].ravel().tolist()}
            others = [other for other in hierarchy.neighbors(anchor, 24).tolist() if other not in taken]
            assert near == others[: together - 1]


def test_classes_and_samples_are_drawn_evenly():
    labels = np.repeat(np.arange(12), 8)
    indices = AnchorNeighborIndices(labels, 2, 3, 4, hierarchy=on_a_circle(np.arange(12)))
    drawn = indices(np.arange(600))
    anchors = labels[drawn].reshape(600, 2, 3, 4)[:, :, 0, 0]
    assert 60 < np.bincount(anchors.ravel()).min() <= np.bincount(anchors.ravel()).max() < 150
    of_samples = np.bincount(drawn.ravel(), minlength=96).reshape(12, 8)
    assert (of_samples.max(axis=1) < 1.35 * of_samples.min(axis=1)).all()


def test_steps_are_independent_of_each_other_and_of_earlier_trees():
    labels = np.repeat(np.arange(20), 7)
    hierarchy = on_a_circle(np.arange(20))
    indices = AnchorNeighborIndices(labels, 2, 3, 3, seed=5, hierarchy=hierarchy)
    together = indices(np.arange(30))
    again = AnchorNeighborIndices(labels, 2, 3, 3, seed=5)
    at_random = again(np.arange(30))
    again.set_hierarchy(hierarchy)
    np.testing.assert_array_equal(together, [again(step) for step in range(30)])
    assert not np.array_equal(together, at_random)
    again.set_hierarchy(None)
    np.testing.assert_array_equal(at_random, again(np.arange(30)))
    assert not np.array_equal(together, AnchorNeighborIndices(labels, 2, 3, 3, seed=6, hierarchy=hierarchy)(range(30)))


def test_a_seed_gives_the_batches_that_it_always_gave():
    indices = AnchorNeighborIndices(np.repeat(np.arange(8), 3), 1, 2, 2, seed=7)
    assert indices(np.array([0, 3, 50])).tolist() == [[11, 9, 3, 5], [8, 7, 4, 5], [13, 12, 16, 15]]


def test_small_classes_have_no_part_in_neighborhoods():
    labels = np.repeat(np.arange(10), [5, 1] * 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        indices = AnchorNeighborIndices(labels, 1, 3, 4, hierarchy=on_a_circle(np.arange(10)))
    classes = labels[indices(np.arange(40))].reshape(40, 3, 4)[:, :, 0]
    assert not (classes % 2).any()
    near = np.abs(classes[:, 1:] - classes[:, :1]) % 10
    assert set(near.ravel().tolist()) == {2, 8}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"anchors_per_batch": 0}, "`anchors_per_batch` must be an integer of at least 1"),
        ({"classes_per_anchor": 1.5}, "`classes_per_anchor` must be an integer of at least 1"),
        ({"samples_per_class": 0}, "`samples_per_class` must be an integer of at least 1"),
        ({"anchors_per_batch": 4}, "`classes_per_batch` must be at most the number of classes to draw from, 10"),
        ({"labels": np.eye(4, dtype=int)}, "`labels` must be one class for each sample"),
        ({"hierarchy": on_a_circle(np.arange(9))}, "`labels` must be classes of the hierarchy. Received: 9"),
    ],
)
def test_arguments_are_checked(change, message):
    arguments = {"labels": np.repeat(np.arange(10), 4), "anchors_per_batch": 2, "classes_per_anchor": 3, **change}
    with pytest.raises(ValueError, match=message):
        AnchorNeighborIndices(**arguments)


# --- as a data set ---


@pytest.mark.backend("tensorflow", reason="tf.data")
def test_passes_go_on_resume_and_take_a_new_tree():
    labels = np.repeat(np.arange(12), 5)
    indices = AnchorNeighborIndices(labels, 2, 2, 3, hierarchy=on_a_circle(np.arange(12)))
    dataset = batches(np.arange(60), indices, steps=4)

    def one_pass(dataset):
        return np.array([x for x, y in dataset.as_numpy_iterator() if (y == labels[x]).all()])

    np.testing.assert_array_equal(one_pass(dataset), indices(np.arange(4)))
    ahead = iter(dataset)  # As Keras does after each epoch.
    circle = on_a_circle(np.arange(12))
    other = ClassHierarchy(np.random.default_rng(0).permutation(circle.means), circle.counts)
    indices.set_hierarchy(other)
    found = np.array([next(ahead)[0].numpy() for _ in range(4)])
    fresh = AnchorNeighborIndices(labels, 2, 2, 3, hierarchy=other)
    np.testing.assert_array_equal(found, fresh(np.arange(4, 8)))
    resumed = batches(np.arange(60), fresh, steps=4, start_step=8)
    np.testing.assert_array_equal(one_pass(dataset), one_pass(resumed))
    assert dataset.cardinality() == 4
    assert batches(np.arange(60), indices).cardinality() == 5


@pytest.mark.backend("tensorflow", reason="tf.data")
def test_loading_and_ids():
    import tensorflow as tf

    labels = np.repeat(np.arange(12), 5)
    indices = AnchorNeighborIndices(labels, 2, 2, 3, hierarchy=on_a_circle(np.arange(12)))

    def load(number):
        with tf.control_dependencies([tf.debugging.assert_none_equal(number, np.int64(7))]):
            return tf.cast(number, "float32") / 2

    with pytest.warns(UserWarning, match="input number 7"):
        found = list(
            batches(np.arange(60), indices, load=load, with_ids=True, on_error="skip", steps=40).as_numpy_iterator()
        )
    for x, y in found:
        np.testing.assert_array_equal(2 * x, y[:, 1])
        np.testing.assert_array_equal(labels[y[:, 1]], y[:, 0])
        assert 7 not in y[:, 1]
    for change in ({"start_step": -1}, {"steps": 0}, {"on_error": "stop"}):
        with pytest.raises(ValueError, match=f"`{next(iter(change))}` must be"):
            batches(np.arange(60), indices, **change)
    with pytest.raises(ValueError, match="`inputs` must have one entry for each label"):
        batches(np.arange(59), indices)
