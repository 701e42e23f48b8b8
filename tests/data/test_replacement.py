import contextlib
import warnings

import numpy as np
import pytest
import tensorflow as tf

from keras_epos.data import BatchIndices, balanced_batches, image_loader

LABELS = np.repeat(np.arange(4), 6)


@pytest.fixture
def damaged(tmp_path, write_image):
    """Return 24 paths of constant size, and a function that damages some of them."""
    paths = [write_image(tmp_path / f"photo {i}.jpg", seed=i) for i in range(24)]

    def damage(*numbers):
        for number in numbers:
            with open(paths[number], "r+b") as file:
                file.truncate(100)
        return paths

    return damage


def identify(paths):
    """Return a function that finds the sample numbers of loaded images."""
    load = image_loader(8)
    known = {}
    for number, path in enumerate(paths):
        with contextlib.suppress(ValueError):
            known[load(path).numpy().tobytes()] = number
    return lambda x: np.array([known[image.tobytes()] for image in x.numpy()])


def test_raise_names_the_file(damaged):
    paths = damaged(13)
    dataset = balanced_batches(paths, LABELS, 4, 3, load=image_loader(8), steps=8)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"photo 13\.jpg', which.*image must be whole.*on_error=\"skip\""
    ):
        list(dataset)


def test_raise_names_a_missing_file_and_counts_arrays(tmp_path, damaged):
    paths = [*damaged()[:23], str(tmp_path / "gone.jpg")]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"gone\.jpg.*NotFoundError"):
        list(balanced_batches(paths, LABELS, 4, 3, load=image_loader(8), steps=8))

    def load(number):
        with tf.control_dependencies([tf.debugging.assert_less(number, np.int64(20))]):
            return tf.identity(number)

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"input number 2[0-3]"):
        list(balanced_batches(np.arange(24), LABELS, 4, 3, load=load, steps=8))


def skipping(paths, **settings):
    """Return the batches, a list of (x, y), of a run that skips unreadable images with a warning."""
    settings = {"load": image_loader(8), "on_error": "skip"} | settings
    dataset = balanced_batches(paths, LABELS, 4, 3, **settings)
    with pytest.warns(UserWarning, match="Skipped"):
        return [(x, y.numpy()) for x, y in dataset]


def test_skip_puts_another_sample_of_the_class_in_place(damaged):
    paths = damaged(1, 2, 20)
    which, planned = identify(paths), BatchIndices(LABELS, 4, 3)(np.arange(12))
    assert np.isin(planned, [1, 2, 20]).any()
    for (x, y), plan in zip(skipping(paths, steps=12), planned, strict=True):
        found, good = which(x), ~np.isin(plan, [1, 2, 20])
        assert len(set(found.tolist())) == 12
        np.testing.assert_array_equal(LABELS[found], y)
        np.testing.assert_array_equal(found[good], plan[good])


def test_skip_warns_once_for_each_file(damaged):
    dataset = balanced_batches(damaged(1, 2, 20), LABELS, 4, 3, load=image_loader(8), steps=8, on_error="skip")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(dataset)
        list(dataset)
    messages = [str(warning.message) for warning in caught]
    assert all(message.startswith("Skipped: '") and "{{" not in message for message in messages)
    named = [n for n in range(24) for message in messages if f"photo {n}.jpg" in message]
    assert named == [1, 2, 20]


def test_skip_does_not_depend_on_what_was_seen_before(damaged):
    paths = damaged(1, 2, 3, 20)
    whole, late = skipping(paths, steps=8), skipping(paths, steps=3, start_step=5)
    for (x, _), (late_x, _) in zip(whole[5:], late, strict=True):
        np.testing.assert_array_equal(x, late_x)


def test_skip_repeats_only_when_a_class_runs_out(damaged):
    paths = damaged(0, 1, 2, 3)
    which = identify(paths)
    for x, y in skipping(paths, steps=6):
        found = which(x)
        np.testing.assert_array_equal(LABELS[found], y)
        assert set(found[y == 0].tolist()) == {4, 5}
        assert len(set(found[y > 0].tolist())) == 9


def test_skip_gives_up_on_a_class_without_readable_samples(damaged):
    paths = damaged(*range(6))
    dataset = balanced_batches(paths, LABELS, 4, 3, load=image_loader(8), steps=2, on_error="skip")
    with (
        pytest.warns(UserWarning, match="Skipped"),
        pytest.raises(tf.errors.InvalidArgumentError, match=r"class 0 without one.*photo \d\.jpg"),
    ):
        list(dataset)


def test_ids_are_those_of_the_samples_that_came(damaged):
    paths = damaged(1, 2, 20)
    which = identify(paths)
    dataset = balanced_batches(paths, LABELS, 4, 3, load=image_loader(8), steps=8, on_error="skip", with_ids=True)
    with pytest.warns(UserWarning, match="Skipped"):
        batches = list(dataset)
    for x, y in batches:
        np.testing.assert_array_equal(which(x), y[:, 1])
        assert not {1, 2, 20} & set(y[:, 1].numpy().tolist())
