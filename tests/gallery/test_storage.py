"""What each storage keeps, what it loses, and what it takes."""

import numpy as np
import pytest
from gallery_oracle import clustered

import keras_epos
from keras_epos.gallery import _search
from keras_epos.gallery._storage import STORAGES
from keras_epos.retrieval import nearest

# Of a length that is no multiple of eight.
ALL = clustered(4100, 60, seed=0)
ORDER = np.random.default_rng(0).permutation(len(ALL))
QUERIES, ROWS = ALL[ORDER[:100]], ALL[ORDER[100:]]
EXACT = nearest(QUERIES, ROWS, k=10)


def gallery(storage, rows=ROWS):
    made = keras_epos.Gallery(storage=storage)
    for start in range(0, len(rows), 1500):
        made.add(rows[start : start + 1500], np.arange(start, min(start + 1500, len(rows))))
    return made


@pytest.mark.parametrize(("storage", "least"), [("float32", 1), ("float16", 0.99), ("int8", 0.999), ("binary", 0.9)])
def test_recall(storage, least, monkeypatch):
    monkeypatch.setattr(_search, "WIDTH", 1024)
    made = gallery(storage)
    found = made.search(QUERIES, 10)
    shared = [len(set(own) & set(exact)) for own, exact in zip(found.ids, EXACT[1], strict=True)]
    assert np.sum(shared) >= least * 1000
    assert (found.ids[:, 0] == EXACT[1][:, 0]).mean() >= least
    if storage != "float16":
        assert made.recall_of_engine(QUERIES) == np.sum(shared) / 1000
    # Similarities are those of the rows that are kept in full, where some are.
    similarity = np.einsum("qd,qkd->qk", QUERIES, ROWS[found.ids.astype(int)])
    np.testing.assert_allclose(found.similarity, similarity, atol=1e-3 if storage == "float16" else 3e-7)


@pytest.mark.parametrize("storage", STORAGES)
def test_filters_and_removed_rows(storage):
    made = gallery(storage)
    made.remove(np.arange(0, 4000, 2))
    kept = np.arange(1, 4000, 2)
    expected = kept[nearest(QUERIES, ROWS[kept], k=1)[1]]
    assert (made.search(QUERIES, 1).ids == expected).mean() >= (0.9 if storage == "binary" else 0.99)
    made.add(ROWS[:2000], [f"again {one}" for one in range(2000)], payload=[{"place": one} for one in range(2000)])
    found = made.search(QUERIES, 3, where=lambda payload: payload.get("place", 0) >= 1990)
    expected = 1990 + nearest(QUERIES, ROWS[1990:2000], k=3)[1]
    assert (found.ids == np.char.add("again ", expected.astype(str))).mean() >= (0.99 if storage == "float16" else 1)


@pytest.mark.parametrize("storage", STORAGES)
def test_rows_of_zeros_and_of_any_length(storage):
    """Of a length that is no multiple of eight."""
    rows = np.random.default_rng(0).normal(size=(50, 11)).astype("float32")
    rows[7] = 0
    rows[:5] *= 1e30
    rows[5:10] *= 1e-30
    made = gallery(storage, rows)
    others = np.delete(np.arange(50), 7)
    found = made.search(rows, 50)
    assert (found.ids[others, 0] == others).all()
    assert (found.similarity[7] == 0).all()
    assert found.ids[7].tolist() == list(range(50))


@pytest.mark.parametrize(("storage", "width"), [("float32", 240), ("float16", 120), ("int8", 60), ("binary", 8)])
def test_bytes_in_memory(storage, width):
    made = gallery(storage)
    assert sum(segment.values.nbytes for segment in made._segments) == width * len(ROWS)


@pytest.mark.parametrize("storage", STORAGES)
def test_the_longest_and_the_shortest_rows_of_float32(storage):
    """Sums of their numbers leave float32, and so do their inverses."""
    generator = np.random.default_rng(0)
    rows = generator.choice([-1.0, 1.0], (600, 60)) * np.where(np.arange(600) % 2, 3e38, 1e-42)[:, None]
    found = gallery(storage, rows.astype("float32")).search(rows[:50], 1)
    assert (found.ids[:, 0] == np.arange(50)).all()
    np.testing.assert_allclose(found.similarity, 1, atol=1e-3)


def test_int8_is_rounded_to_the_nearest():
    values = STORAGES["int8"].encode(ROWS).astype("float32")
    step = np.abs(ROWS).max(axis=1, keepdims=True) / 127
    assert np.abs(values * step - ROWS).max() <= 0.5001 * step.max()
    assert (np.abs(values).max(axis=1) == 127).all()


def test_int8_is_a_quarter_and_joined_to_the_same(tmp_path):
    """To join segments encodes them again, which must change nothing."""
    whole, parts = keras_epos.Gallery(storage="int8"), keras_epos.Gallery(storage="int8")
    whole.add(ROWS[:100], np.arange(100))
    for one in range(100):
        parts.add(ROWS[one : one + 1], [one])
    assert len(parts._segments) < 8
    joined = np.concatenate([segment.values for segment in parts._segments])
    assert (joined == whole._segments[0].values).all()
    assert parts.search(QUERIES, 5).ids.tolist() == whole.search(QUERIES, 5).ids.tolist()
