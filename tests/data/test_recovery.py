import numpy as np
import pytest
import tensorflow as tf

from keras_epos.data._recovery import map_or_recover


def doubled(number):
    with tf.control_dependencies([tf.debugging.assert_none_equal(number % 7, np.int64(3))]):
        return {"double": number * 2, "pair": (tf.stack([number, number]), tf.as_string(number))}


def elements(count):
    return tf.data.Dataset.range(count).map(lambda number: ((number,), (number,)))


def test_keeps_the_order_and_calls_python_for_failures_only():
    called = []

    def recover(number):
        called.append(int(number))
        return {"double": -number, "pair": (np.array([number, 0]), np.bytes_(b"recovered"))}

    result = list(map_or_recover(elements(100), doubled, recover).as_numpy_iterator())
    failing = [number for number in range(100) if number % 7 == 3]
    assert sorted(called) == failing
    assert [r["double"] for r in result] == [-n if n in failing else 2 * n for n in range(100)]
    assert result[3]["pair"][1] == b"recovered"
    assert result[4]["pair"][1] == b"4"


def test_passes_errors_of_recover_on():
    def recover(number):
        raise ValueError(f"no way with {number}")

    with pytest.raises(tf.errors.InvalidArgumentError, match="no way with 3"):
        list(map_or_recover(elements(10), doubled, recover))
