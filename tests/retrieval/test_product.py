"""Which similarities of a block are looked at: none that counts is missed, and of many few are sorted."""

import numpy as np
import pytest
from keras import ops

from keras_epos.retrieval import _product

RANDOM = np.random.default_rng(0)


def found(similarity, threshold, width=None):
    """What `above` yields, or `first_above` returns, as a set of places for each row."""
    block = ops.convert_to_tensor(similarity)
    parts = [_product.first_above(block, threshold, width)] if width else list(_product.above(block, threshold))
    if not parts:
        return [set() for _ in similarity]
    row, column, value = (np.concatenate(part) for part in zip(*parts, strict=True))
    assert (np.diff(row) >= 0).all()
    np.testing.assert_array_equal(value, similarity[row, column])
    return [set(column[row == one].tolist()) for one in range(len(similarity))]


def similarities(num_columns):
    return RANDOM.uniform(-1, 1, (7, num_columns)).astype("float32")


@pytest.mark.parametrize("num_columns", [256, 250, 5])
@pytest.mark.parametrize("at_once", [1, 100, 10_000])
def test_every_entry_above_its_threshold(num_columns, at_once, monkeypatch):
    monkeypatch.setattr(_product, "AT_ONCE", at_once)
    similarity = similarities(num_columns)
    threshold = np.array([-2, -0.5, 0, 0.9, 0.99, 1, np.inf], np.float32)
    expected = [set(np.flatnonzero(row > low).tolist()) for row, low in zip(similarity, threshold, strict=True)]
    assert found(similarity, threshold) == expected
    assert found(similarity, np.full(7, np.inf, np.float32)) == [set()] * 7


@pytest.mark.parametrize("num_columns", [256, 250, 12])
@pytest.mark.parametrize("width", [1, 10])
def test_of_many_the_first_are_found(num_columns, width):
    similarity = similarities(num_columns)
    for row, places in zip(similarity, found(similarity, np.full(7, -np.inf, np.float32), width), strict=True):
        assert set(np.argsort(-row)[:width].tolist()) <= places


def test_few_are_looked_at_where_every_entry_is_above(monkeypatch):
    # Ten groups of sixteen hold the ten largest; the others are left alone, and nothing is sorted.
    monkeypatch.setattr(_product.ops, "top_k", None)
    similarity = similarities(4096)
    for row, places in zip(similarity, found(similarity, np.full(7, -np.inf, np.float32), 10), strict=True):
        assert 10 <= len(places) <= 20
        assert set(np.argsort(-row)[:10].tolist()) <= places


def test_copies_without_end_are_sorted():
    places = found(np.ones((7, 4096), np.float32), np.full(7, -np.inf, np.float32), 10)
    assert [len(one) for one in places] == [10] * 7


def test_where_all_are_above_few_are_looked_at_at_a_time(monkeypatch):
    monkeypatch.setattr(_product, "AT_ONCE", 512)
    sizes = [len(part[0]) for part in _product.above(ops.ones((7, 256)), np.zeros(7, np.float32))]
    assert sizes == [256, 512, 512, 512]
