"""A table of LanceDB answers as a gallery does."""

import sys

import numpy as np
import pytest
from gallery_oracle import Oracle, check, clustered

import keras_epos
from keras_epos.gallery import LanceGallery

installed = pytest.mark.usefixtures("lancedb")

IDS = [f"it's {number}" if number % 2 else number for number in range(300)]
LABELS = [number % 5 if number % 3 else "x" for number in range(300)]
PAYLOAD = [
    {
        "cam'`era.é": "le'ft" if number % 2 else "right",
        "n": number % 3,
        "b": bool(number % 2),
        "of": {"b": 1, "a": [1.0, 0.5]},
    }
    if number % 7
    else {}
    for number in range(300)
]


@pytest.fixture(scope="module")
def lancedb():
    return pytest.importorskip("lancedb", reason="LanceDB is not installed")


def tied():
    """Rows of few directions, many of them the same, and one of zeros; and queries."""
    generator = np.random.default_rng(0)
    rows = generator.integers(-2, 3, (300, 4)).astype(np.float32)
    queries = generator.normal(size=(5, 4))
    queries[0] = rows[0]
    return rows, queries


def kept(rows):
    """What the table holds of them."""
    norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return (rows / np.where(norms > 0, norms, 1)).astype(np.float32)


@pytest.fixture
def filled(lancedb, tmp_path):
    rows, queries = tied()
    gallery, oracle = LanceGallery(tmp_path / "things", fingerprint="tied", threshold=0.5), Oracle()
    gallery.add(rows, IDS, LABELS, PAYLOAD)
    oracle.add(kept(rows), IDS, LABELS, PAYLOAD)
    return gallery, oracle, rows, queries


def test_search_is_exact_with_all_ties(filled):
    gallery, oracle, _, queries = filled
    check(gallery, oracle, queries, 5)
    check(gallery, oracle, queries, 120)


@pytest.mark.parametrize(
    ("where", "function"),
    [
        ({"n": [1, True]}, lambda payload: payload.get("n") in [1, True]),
        ({"n": 1.0}, lambda payload: payload.get("n") == 1),
        ({"b": 1, "cam'`era.é": "le'ft"}, lambda payload: payload.get("b") is True),
        ({"n": None}, lambda payload: "n" not in payload),
        ({"n": [None, 2]}, lambda payload: payload.get("n") in [None, 2]),
        ({"of": {"a": [1, 0.5], "b": 1.0}}, lambda payload: "of" in payload),
        ({"of": {"a": [True, 0.5], "b": np.int64(1)}}, lambda payload: "of" in payload),
        ({"of": {"a": [1, 0.5], "b": 2}}, lambda payload: False),
        ({"n": np.float32(2)}, lambda payload: payload.get("n") == 2),
        ({"absent": None}, lambda payload: True),
        ({"absent": 1}, lambda payload: False),
        ({"n": []}, lambda payload: False),
        ({"n": [10**400, 2]}, lambda payload: payload.get("n") == 2),
        ({"cam'`era.é": "' OR true --"}, lambda payload: False),
    ],
    ids=range(14),
)
def test_where_is_asked_of_the_database(filled, where, function):
    gallery, oracle, _, queries = filled
    check(gallery, oracle, queries[:2], 5, where, function)


def test_it_changes_as_a_gallery_does(filled, tmp_path):
    gallery, oracle, rows, queries = filled
    gallery.remove(IDS[:10])
    oracle.remove(IDS[:10])
    again = LanceGallery(tmp_path / "things")
    check(again, oracle, queries, 5)
    # What a second one adds, with a new field, the first one sees. What is replaced comes last.
    for ids in (IDS[:10], IDS[20:30]):
        again.add(rows[:10], ids, LABELS[:10], [{"new": 1.5}] * 10, replace=True)
        oracle.remove(ids)
        oracle.add(kept(rows[:10]), ids, LABELS[:10], [{"new": 1.5}] * 10)
    check(gallery, oracle, queries, 15)
    check(gallery, oracle, queries, 30, {"new": 1.5}, lambda payload: "new" in payload)
    assert len(gallery) == len(again) == 300


def test_more_copies_than_candidates_stand_in_order(lancedb, tmp_path):
    gallery = LanceGallery(tmp_path)
    for start in (200, 100, 0):
        gallery.add(np.ones((100, 4)), range(start, start + 100))
    assert gallery.search(np.ones((2, 4)), 3).ids.tolist() == [[200, 201, 202]] * 2


def test_match_and_threshold(filled, tmp_path):
    gallery, _, rows, queries = filled
    own = keras_epos.Gallery(threshold=0.5)
    own.add(kept(rows), IDS, LABELS, PAYLOAD)
    found, expected = gallery.match(queries), own.match(queries)
    for name in ("labels", "ids", "accepted", "similarity"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    gallery.threshold = 0.999999
    assert LanceGallery(tmp_path / "things").threshold == 0.999999
    assert set(gallery.match(queries[1:]).labels) == {"unknown"}


def test_versions(filled, tmp_path):
    gallery, oracle, rows, queries = filled
    version = gallery.version
    gallery.remove(IDS[:100])
    old = LanceGallery(tmp_path / "things", version=version)
    check(old, oracle, queries, 5)
    with pytest.raises(ValueError, match="newest version"):
        old.add(rows[:1], ["new"])
    with pytest.raises(ValueError, match="`version` must be one that the table has"):
        LanceGallery(tmp_path / "things", version=999)


def test_refused(filled, tmp_path):
    gallery, _, rows, queries = filled
    with pytest.raises(ValueError, match="must not be in the gallery yet"):
        gallery.add(rows[:2], ["new", IDS[1]])
    with pytest.raises(ValueError, match="must be in the gallery"):
        gallery.remove([IDS[1], "no"])
    with pytest.raises(ValueError, match="must be a dictionary for a LanceGallery"):
        gallery.search(queries, where=lambda payload: True)
    with pytest.raises(ValueError, match="dimensions of the gallery"):
        gallery.search(np.ones((1, 3)))
    with pytest.raises(ValueError, match="must be what made the gallery, 'tied'"):
        LanceGallery(tmp_path / "things", fingerprint="another")
    assert len(gallery) == 300


def test_a_table_of_something_else(lancedb, tmp_path):
    lancedb.connect(str(tmp_path)).create_table("gallery", [{"text": "none of ours"}])
    with pytest.raises(ValueError, match="must be a gallery's"):
        LanceGallery(tmp_path)


def test_an_empty_one(lancedb, tmp_path):
    gallery = LanceGallery(tmp_path)
    assert len(gallery) == 0
    assert gallery.search(np.ones((2, 4)), 3).ids.tolist() == [[None] * 3] * 2


def test_an_index_is_approximate_and_measured(lancedb, tmp_path):
    rows = clustered(2000, 16, seed=0)
    gallery = LanceGallery(tmp_path)
    gallery.add(rows, range(2000))
    assert gallery.recall_of_engine(rows[:50], 10) == 1
    recall = gallery.build_index("IVF_PQ", num_partitions=8, num_sub_vectors=2)
    assert 0.05 < recall < 1
    found = gallery.search(rows[:50], 10)
    # What is found is ranked by exact similarities.
    exact = np.einsum("qd,qkd->qk", rows[:50], rows[found.ids.astype(int)])
    np.testing.assert_allclose(found.similarity, exact, atol=1e-6)


def test_without_lancedb(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(ImportError, match=r"keras-epos\[lancedb\]"):
        LanceGallery(tmp_path)
