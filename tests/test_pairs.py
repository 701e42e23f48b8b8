"""Unit rows, masks and masked reductions."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from keras_epos import _pairs as pairs
from keras_epos import reference
from keras_epos._gradient import gradient

numpy = keras.ops.convert_to_numpy


def tensor(values, dtype="float32"):
    return keras.ops.convert_to_tensor(np.asarray(values), dtype=dtype)


# --- unit rows ---


@pytest.mark.parametrize("scale", [1, 1e20, 1e-20, 3e37, 1e-35])
def test_unit_rows_at_any_length(scale):
    rows = np.random.default_rng(0).standard_normal((5, 7))
    found = numpy(pairs.unit(tensor(rows * scale)))
    np.testing.assert_allclose(found, reference.unit(rows), rtol=1e-6, atol=1e-7)


def test_unit_leaves_unit_rows_alone():
    rows = reference.unit(np.random.default_rng(0).standard_normal((50, 16))).astype("float32")
    np.testing.assert_allclose(numpy(pairs.unit(tensor(rows))), rows, rtol=1e-6, atol=1e-7)


def test_unit_has_the_gradient_of_the_division_by_the_norm():
    random = np.random.default_rng(1)
    rows, weights = random.standard_normal((4, 3)), random.standard_normal((4, 3))
    found = gradient(lambda x: keras.ops.sum(pairs.unit(x) * tensor(weights, "float64")), tensor(rows, "float64"))
    expected = reference.numerical_gradient(lambda x: np.sum(reference.unit(x) * weights), rows)
    np.testing.assert_allclose(numpy(found), expected, rtol=1e-6, atol=1e-8)


def test_rows_of_zeros_stay_zero_with_a_zero_gradient():
    rows = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    assert not numpy(pairs.unit(tensor(rows)))[0].any()
    found = numpy(gradient(lambda x: keras.ops.sum(pairs.unit(x)), tensor(rows)))
    assert not found[0].any()
    assert found[1].any()
    assert np.isfinite(found).all()


# --- masks ---


@settings(max_examples=40, deadline=None)
@given(
    arrays("int64", 6, elements=some.integers(-1, 2)),
    some.sampled_from([(0, 6), (2, 4), (5, 1), (None, 3)]),
    some.sampled_from([None, -1, 0]),
)
def test_masks(reference_labels, anchors, ignore_label):
    offset, number = anchors
    labels = reference_labels[:number] if offset is None else reference_labels[offset : offset + number]
    found = pairs.masks(tensor(labels, "int64"), tensor(reference_labels, "int64"), offset, ignore_label)
    positives, negatives = (numpy(mask) for mask in found)
    for a, r in np.ndindex(number, 6):
        known = ignore_label is None or ignore_label not in (labels[a], reference_labels[r])
        itself = offset is not None and a + offset == r
        assert positives[a, r] == (known and labels[a] == reference_labels[r] and not itself)
        assert negatives[a, r] == (known and labels[a] != reference_labels[r])


# --- similarities ---


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
def test_both_ways_to_a_similarity_equal_the_oracle(metric):
    rows = reference.unit(np.random.default_rng(2).standard_normal((6, 4)))
    expected, _ = reference.nearness(rows, metric)
    of_others = ~np.eye(6, dtype=bool)
    whole = numpy(pairs.to_similarity(tensor(rows @ rows.T, "float64"), metric))
    np.testing.assert_allclose(whole[of_others], expected[of_others], rtol=1e-9)
    indices = np.random.default_rng(3).integers(0, 6, (6, 2))
    own = numpy(pairs.row_similarity(tensor(rows, "float64"), tensor(rows[indices], "float64"), metric))
    np.testing.assert_allclose(own, np.take_along_axis(expected, indices, axis=1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("metric", ["euclidean", "squared_euclidean"])
def test_distances_between_close_rows_keep_their_digits_in_float32(metric):
    rows = np.array([[1.0, 0.0], [1.0, 3e-4]], "float32")
    found = numpy(pairs.row_similarity(tensor(rows[:1]), tensor(rows[None, 1:]), metric))[0, 0]
    assert -found == pytest.approx(3e-4 if metric == "euclidean" else 9e-8, rel=1e-5)


def test_the_root_of_a_zero_distance_has_a_zero_gradient():
    found = gradient(lambda x: keras.ops.sum(pairs.from_squared_distance(x, "euclidean")), tensor([0.0, -1e-7, 4.0]))
    assert numpy(found).tolist() == [0.0, 0.0, -0.25]


# --- masked reductions ---


@settings(max_examples=60, deadline=None)
@given(
    arrays("float64", (3, 5), elements=some.floats(-1e4, 1e4, allow_subnormal=False)),
    arrays(bool, (3, 5), elements=some.booleans()),
)
def test_masked_reductions(values, mask):
    given_values, given_mask = tensor(values, "float64"), tensor(mask, "bool")
    found = {
        name: numpy(getattr(pairs, name)(given_values, given_mask))
        for name in ("masked_sum", "masked_max", "masked_min", "masked_logsumexp", "masked_mean")
    }
    counts = numpy(pairs.count(given_mask, "float64"))
    for row in range(3):
        some_values = values[row][mask[row]]
        assert counts[row] == len(some_values)
        assert found["masked_sum"][row] == pytest.approx(some_values.sum(), abs=1e-9)
        assert found["masked_max"][row] == pytest.approx(max(some_values, default=pairs.LOWEST), rel=1e-7)
        assert found["masked_min"][row] == pytest.approx(min(some_values, default=-pairs.LOWEST), rel=1e-7)
        expected = np.logaddexp.reduce(some_values) if len(some_values) else pairs.LOWEST
        assert found["masked_logsumexp"][row] == pytest.approx(expected, rel=1e-7, abs=1e-9)
    assert found["masked_mean"] == pytest.approx(values[mask].mean() if mask.any() else 0, abs=1e-9)


@pytest.mark.parametrize("name", ["masked_sum", "masked_max", "masked_min", "masked_logsumexp"])
def test_what_is_masked_has_no_gradient_and_breaks_none(name):
    values = tensor([[1e30, 2.0, 3.0], [1e30, 1e30, 1e30]])
    mask = tensor([[False, True, True], [False, False, False]], "bool")
    found = numpy(gradient(lambda x: keras.ops.sum(getattr(pairs, name)(x, mask)), values))
    assert np.isfinite(found).all()
    assert not found[1].any()
    assert found[0, 0] == 0
    assert found[0].sum() == pytest.approx(2 if name == "masked_sum" else 1)


def test_logsumexp_of_large_values():
    values, mask = tensor([[1e4, 1e4, -1e4]]), tensor([[True, True, True]], "bool")
    assert numpy(pairs.masked_logsumexp(values, mask))[0] == pytest.approx(1e4 + np.log(2), rel=1e-6)
    np.testing.assert_allclose(
        numpy(gradient(lambda x: keras.ops.sum(pairs.masked_logsumexp(x, mask)), values)), [[0.5, 0.5, 0]]
    )


def test_for_each_true_visits_every_true_entry_once_in_order():
    mask = np.array([[False, True, True, False], [False] * 4, [True] * 4])
    values = np.arange(12, dtype="float32").reshape(3, 4)

    def step(column, here, some, visited, digits):
        value = keras.ops.take_along_axis(tensor(values), column, axis=-1)
        digits = keras.ops.where(some, 12 * digits + value, digits)
        return visited + keras.ops.cast(here, "int32"), digits

    start = (tensor(np.zeros((3, 4)), "int32"), tensor(np.zeros((3, 1))))
    visited, digits = pairs.for_each_true(tensor(mask, "bool"), step, start)
    assert numpy(visited).tolist() == mask.astype(int).tolist()
    assert numpy(digits)[:, 0].tolist() == [12 * 1 + 2, 0, ((8 * 12 + 9) * 12 + 10) * 12 + 11]
