from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_epos.data._inputs import as_arrays, describe_error, describe_input, takes_seed


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


def test_inputs_that_make_no_array():
    for inputs, message in (
        ([np.zeros((4, 2)), np.zeros(3)], "tuple or dict of such inputs for a model of several.*a list"),
        (["a", 3, "b", "c"], "paths where the first one is a path.*not int"),
        (5, r"a int of shape \(\), 4 labels"),
    ):
        with pytest.raises(ValueError, match=f"`inputs` must .*{message}"):
            as_arrays(inputs, 4)


def test_messages_are_short_and_carry_no_files():
    contents = b"GIF89a" + b"\0\1" * 9 + b"secret" * 9_000
    assert describe_input(contents, 4) == "input number 4"
    assert len(describe_input("a" * 9_000, 4)) < 500
    assert len(describe_error(OSError(contents.decode()))) < 500
    error = tf.errors.InvalidArgumentError(
        None, None, "{{function_node __wrapped__A_device_/job:0}} Bad JPEG. [Op:A] name: "
    )
    assert describe_error(error) == "InvalidArgumentError: Bad JPEG"
