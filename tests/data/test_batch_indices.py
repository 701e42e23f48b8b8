import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_epos.data import BatchIndices
from keras_epos.data import _class_members as module
from keras_epos.data._batch_indices import integer_labels


@st.composite
def requests(draw):
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=12))
    samples = draw(st.integers(2, 5))
    kept = sum(size >= samples for size in sizes)
    if not kept:
        sizes.append(samples)
        kept = 1
    names = draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=len(sizes), max_size=len(sizes), unique=True))
    labels = np.repeat(np.array(names, dtype=np.int64), sizes)
    draw(st.randoms(use_true_random=False)).shuffle(labels)
    return labels, draw(st.integers(1, kept)), samples, draw(st.integers(0, 2**70))


@settings(max_examples=60, deadline=None)
@given(requests(), st.integers(0, 10**12))
def test_a_batch_has_distinct_classes_and_distinct_samples(request, step):
    labels, classes, samples, seed = request
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        indices = BatchIndices(labels, classes, samples, seed=seed)
    batch = indices(step)
    assert batch.shape == (classes * samples,)
    assert batch.dtype == np.int64
    assert len(set(batch.tolist())) == len(batch)
    drawn = labels[batch].reshape(classes, samples)
    assert (drawn == drawn[:, :1]).all()
    assert len(set(drawn[:, 0].tolist())) == classes


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(2, 4), st.integers(1, 4), st.integers(0, 99))
def test_each_sample_is_seen_exactly_as_often(classes, steps_per_epoch, samples, visits, seed):
    labels = np.tile(np.arange(classes * steps_per_epoch), samples * visits)
    indices = BatchIndices(labels, classes, samples, seed=seed)
    assert indices.steps_per_epoch == steps_per_epoch
    for cycle in range(2):
        steps = np.arange(steps_per_epoch * visits) + cycle * steps_per_epoch * visits
        np.testing.assert_array_equal(np.sort(indices(steps), axis=None), np.arange(len(labels)))


def test_an_epoch_visits_each_class_at_most_once_and_leaves_out_others_each_time():
    labels = np.repeat(np.arange(11), 4)
    indices = BatchIndices(labels, 4, 4)
    left_out = set()
    for epoch in range(30):
        visited = labels[indices(np.arange(2) + 2 * epoch)].reshape(-1, 4)[:, 0]
        assert len(set(visited.tolist())) == 8
        left_out |= set(range(11)) - set(visited.tolist())
    assert left_out == set(range(11))


def test_rare_classes_come_as_often_as_common_ones():
    labels = np.repeat(np.arange(10), [8, 8, 8, 8, 8, 80, 80, 80, 80, 800])
    indices = BatchIndices(labels, 5, 4)
    counts = np.bincount(labels[indices(np.arange(40))].reshape(-1))
    np.testing.assert_array_equal(counts, np.full(10, 80))


def test_steps_are_independent_of_each_other():
    labels = np.repeat(np.arange(20), 7)
    indices = BatchIndices(labels, 4, 3, seed=5)
    together = indices(np.arange(50))
    backwards = [BatchIndices(labels, 4, 3, seed=5)(step) for step in reversed(range(50))]
    np.testing.assert_array_equal(together, backwards[::-1])
    assert not np.array_equal(together, BatchIndices(labels, 4, 3, seed=6)(np.arange(50)))
    assert len(np.unique(np.sort(together, axis=1), axis=0)) == 50


def test_a_seed_gives_the_batches_that_it_always_gave():
    found = BatchIndices(np.repeat(np.arange(5), [4, 5, 6, 7, 9]), 2, 3, seed=7)(np.array([0, 5, 100]))
    assert found.tolist() == [[8, 6, 5, 25, 24, 22], [3, 0, 1, 18, 15, 21], [14, 13, 10, 3, 1, 0]]


def test_load_seeds_differ_for_every_sample_and_repeat_by_step():
    indices = BatchIndices(np.repeat(np.arange(20), 7), 4, 3)
    seeds = indices.load_seeds(np.arange(10))
    assert seeds.shape == (10, 12, 2)
    assert seeds.dtype == np.int32
    assert len(np.unique(seeds.reshape(-1, 2), axis=0)) == 120
    np.testing.assert_array_equal(indices.load_seeds([7])[0], seeds[7])


def test_spares_are_the_whole_class():
    labels = np.tile(np.arange(6), 5)
    indices = BatchIndices(labels, 3, 2)
    for row in range(6):
        of_class = np.flatnonzero(labels == labels[indices(4)[row]])
        np.testing.assert_array_equal(np.sort(indices.spares(4, row)), of_class)


def test_memory_is_two_integers_a_sample_and_two_a_class():
    labels = np.repeat(np.arange(100_000), 3)
    indices = BatchIndices(labels, 16, 3)
    held = sum(v.nbytes for v in vars(indices).values() if isinstance(v, np.ndarray))
    assert held <= 8 * (2 * len(labels) + 2 * indices.num_classes + 1)  # and the key
    assert not any(isinstance(value, (list, dict)) for value in vars(indices).values())
    assert set(labels[indices(10**9)].tolist()) <= set(range(100_000))


def test_skip_warns_how_many_and_leaves_them_out():
    labels = np.repeat([10, 20, 30, 40], [1, 2, 5, 6])
    with pytest.warns(UserWarning, match=r"2 of 4 classes \(3 of 14 samples\)"):
        indices = BatchIndices(labels, 2, 5)
    assert set(labels[indices(np.arange(20))].reshape(-1).tolist()) == {30, 40}
    assert (indices.num_classes, indices.num_samples) == (2, 11)


def test_repeat_uses_every_sample_of_a_small_class():
    labels = np.repeat([0, 1], [2, 7])
    indices = BatchIndices(labels, 2, 5, small_classes="repeat")
    for batch in indices(np.arange(20)):
        small = batch[labels[batch] == 0]
        assert sorted(np.bincount(small, minlength=2)) == [2, 3]
        assert len(set(batch[labels[batch] == 1].tolist())) == 5


def test_errors_say_what_to_change():
    labels = np.repeat(np.arange(3), 4)
    with pytest.raises(ValueError, match="small_classes='error'"):
        BatchIndices(np.append(labels, 9), 2, 4, small_classes="error")
    cases = (
        (
            (labels, 4, 4),
            r"draw from, 3\. .*=4, and labels of 3 classes\. classes_per_batch=3 would do\..*image_folder",
        ),
        (
            (labels, 2, 5),
            r", 0\. .* of which 0 have .* classes_per_batch=2 with samples_per_class=4 .*classes='repeat'",
        ),
        ((np.zeros(5, int), 2, 2), r", 1\. .* labels of 1 class\. "),
        ((np.append(labels, [7, 7]), 4, 4), r", 3\. .*4 classes, of which 3 have .*=4 with samples_per_class=2 would"),
        ((np.zeros(0, int), 2, 2), r"`labels` must have at least one sample.*\(0,\)"),
        ((np.array(["a", "b"]), 2, 2), r"`labels`.*<U1.*np\.unique"),
        ((labels, 2.0, 2), r"`classes_per_batch` must be an integer of at least 1\. .*2\.0"),
        ((labels, 2, True), r"`samples_per_class` must be an integer.*True"),
    )
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            BatchIndices(*arguments)
    for seed in (1.5, True, "1"):
        with pytest.raises(ValueError, match="`seed` must be an integer"):
            BatchIndices(labels, 2, 2, seed=seed)
    indices = BatchIndices(labels, 2, 2)
    with pytest.raises(TypeError, match=r"indices\(step\) instead of indices\[step\]"):
        indices[0]
    for steps in (-1, 1.5, [0, -1], True):
        with pytest.raises(ValueError, match="`steps` must be an integer of at least 0"):
            indices(steps)
    with pytest.warns(UserWarning, match="without negatives"):
        BatchIndices(labels, 1, 2)
    with pytest.raises(ValueError, match=r"`labels`.*float32.*\(12,\)"):
        BatchIndices(labels.astype("float32"), 2, 4)
    with pytest.raises(ValueError, match=r"`labels`.*\(12, 2\)"):
        BatchIndices(np.stack([labels, labels], 1), 2, 4)
    with pytest.raises(ValueError, match=r"`samples_per_class`.*samples_per_class=0"):
        BatchIndices(labels, 2, 0)
    with pytest.raises(ValueError, match="small_classes='drop'"):
        BatchIndices(labels, 2, 2, small_classes="drop")
    with pytest.warns(UserWarning, match="without positives"):
        BatchIndices(labels, 2, 1)


def test_the_labels_are_copied():
    labels = np.repeat(np.arange(3), 4)
    indices = BatchIndices(labels, 2, 2)
    drawn = indices(0)
    labels[:] = 7
    np.testing.assert_array_equal(indices(0), drawn)
    assert integer_labels(labels) is not labels


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
def test_samples_are_grouped_as_a_stable_sort_groups_them(dtype, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 7)  # classes that reach over the borders of blocks
    generator, held = np.random.default_rng(0), np.iinfo(dtype)
    for number in generator.integers(1, 40, 150):
        for labels in (
            generator.integers(0, 5, number),
            generator.integers(held.min, held.max, number, dtype=dtype, endpoint=True),
            generator.choice(np.array([held.min, held.max, 0, 1], dtype), number),
        ):
            labels = labels.astype(dtype)
            names, classes, expected = np.unique(labels, return_inverse=True, return_counts=True)
            members, sizes = module.members_of(labels)
            np.testing.assert_array_equal(members, np.argsort(classes.reshape(-1), kind="stable"))
            np.testing.assert_array_equal(sizes, expected)
            np.testing.assert_array_equal(labels[members[np.cumsum(sizes) - sizes]], names)


@pytest.mark.parametrize("distance", [2**63 - 1, 2**63])
def test_labels_as_far_apart_as_a_key_holds_and_farther(distance):
    members, sizes = module.members_of(np.array([distance, 0], np.uint64))
    np.testing.assert_array_equal(members, [1, 0])
    np.testing.assert_array_equal(sizes, [1, 1])


def test_streams_are_what_they_were():
    """Of the commit that made them first: a saved run resumes with the batches that it would have had."""
    labels = np.random.default_rng(0).integers(-3, 20, 200)
    indices = BatchIndices(labels, 5, 3, seed=11)
    expected = [[163, 151, 35, 104], [120, 75, 103, 170], [197, 18, 72, 189]]
    np.testing.assert_array_equal(indices([0, 7, 10**9])[:, ::4], expected)


def test_a_file_of_labels_that_nobody_writes_to_is_not_copied(tmp_path):
    np.save(tmp_path / "labels.npy", np.repeat(np.arange(4), 5))
    file = np.load(tmp_path / "labels.npy", mmap_mode="r")
    assert np.shares_memory(BatchIndices(file, 2, 2).labels, file)
    writeable = np.load(tmp_path / "labels.npy", mmap_mode="r+")
    assert not np.shares_memory(BatchIndices(writeable, 2, 2).labels, writeable)
    np.testing.assert_array_equal(BatchIndices(file, 2, 2)(np.arange(9)), BatchIndices(writeable, 2, 2)(np.arange(9)))
