"""What each storage keeps, what it loses, and what it takes."""

import numpy as np
import pytest
from gallery_oracle import clustered

import keras_epos
from keras_epos.gallery import _search
from keras_epos.gallery._storage import STORAGES
from keras_epos.retrieval import nearest

ALL = clustered(4100, 64, seed=0)
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
    assert (found.ids == np.char.add("again ", expected.astype(str))).all()


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


@pytest.mark.parametrize(("storage", "share"), [("float32", 4), ("float16", 2), ("int8", 1), ("binary", 1 / 8)])
def test_bytes_in_memory(storage, share):
    made = gallery(storage)
    assert sum(segment.values.nbytes for segment in made._segments) == share * ROWS.size


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
