from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_epos.data.inputs import as_arrays, describe_input, takes_seed


@pytest.mark.parametrize(
    "paths",
    [
        ["a/é.jpg", "b"],
        [Path("a/é.jpg"), Path("b")],
        ("a/é.jpg", "b"),
        np.array(["a/é.jpg", "b"]),
        ["a/é.jpg".encode(), b"b"],
    ],
)
def test_paths_become_bytes(paths):
    assert as_arrays(paths, 2).tolist() == ["a/é.jpg".encode(), b"b"]


def test_arrays_are_not_copied():
    array = np.zeros((3, 2))
    assert as_arrays(array, 3) is array
    assert as_arrays({"x": array}, 3)["x"] is array
    assert as_arrays((array, array), 3)[1] is array
    assert as_arrays([[1, 2], [3, 4], [5, 6]], 3).shape == (3, 2)
    with pytest.raises(ValueError, match=r"`inputs`.*\(3, 2\), 4 labels"):
        as_arrays(array, 4)


def test_takes_seed():
    assert takes_seed(lambda x, seed: x)
    assert takes_seed(tf.function(lambda x, seed=None: x))
    assert not takes_seed(lambda x, other: x)
    assert not takes_seed(min)


def test_describe_input():
    assert describe_input("a/é.jpg".encode(), 4) == "'a/é.jpg'"
    assert describe_input(b"\xff\xd8\xff...", 4) == "input number 4"
    assert describe_input(np.zeros(3), 4) == "input number 4"
