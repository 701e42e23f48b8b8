import numpy as np
import pytest
import tensorflow as tf

from keras_epos.data._recovery import map_or_recover


def doubled(number):
    with tf.control_dependencies([tf.debugging.assert_none_equal(number % 7, np.int64(3))]):
        return {"double": number * 2, "pair": (tf.stack([number, number]), tf.as_string(number))}


def batches(count, size):
    return tf.data.Dataset.range(count).batch(size).map(lambda number: ((number,), (number,)))


def expected(number):
    return -number if number % 7 == 3 else 2 * number


def recover(number):
    return {"double": expected(number), "pair": (np.array([number, 0]), np.bytes_(b"recovered"))}


def test_keeps_the_order_and_calls_python_for_batches_with_a_failure_only():
    called = []

    def remember(number):
        called.append(int(number))
        return recover(number)

    result = list(map_or_recover(batches(100, 4), doubled, remember).as_numpy_iterator())
    assert sorted(called) == [n for n in range(100) if any(m % 7 == 3 for m in range(n - n % 4, n - n % 4 + 4))]
    assert np.concatenate([batch["double"] for batch in result]).tolist() == [expected(n) for n in range(100)]
    assert result[0]["pair"][1].tolist() == [b"recovered"] * 4
    assert result[1]["pair"][1].tolist() == [b"4", b"5", b"6", b"7"]


@pytest.mark.parametrize("count", [1, 5, 7, 8, 11, 24, 25])
def test_a_last_batch_that_is_smaller_is_whole(count):
    result = list(map_or_recover(batches(count, 7), doubled, recover).as_numpy_iterator())
    assert [len(batch["double"]) for batch in result] == [min(7, count - first) for first in range(0, count, 7)]
    assert np.concatenate([batch["double"] for batch in result]).tolist() == [expected(n) for n in range(count)]


def test_the_size_of_batches_is_known_where_it_is_constant():
    constant = tf.data.Dataset.range(12).batch(4, drop_remainder=True).map(lambda number: ((number,), (number,)))
    assert map_or_recover(constant, doubled, recover).element_spec["double"].shape == (4,)


def test_passes_errors_of_recover_on():
    def give_up(number):
        raise ValueError(f"no way with {number}")

    with pytest.raises(tf.errors.InvalidArgumentError, match="no way with 0"):
        list(map_or_recover(batches(10, 5), doubled, give_up))


def test_examples_of_different_shapes_are_refused():
    def numbers_up_to(number):
        return tf.range(number)

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"examples of one shape.*\(0,\), \(1,\)"):
        list(map_or_recover(batches(2, 2), numbers_up_to, lambda number: np.arange(number)))
