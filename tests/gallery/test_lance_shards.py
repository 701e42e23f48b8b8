"""Shards of embeddings in a table of LanceDB: every row once, whatever happened before."""

import numpy as np
import pytest
from gallery_oracle import clustered

from keras_epos.gallery import LanceGallery, _lance, _shards
from keras_epos.scale import Shards

pytest.importorskip("lancedb", reason="LanceDB is not installed")
pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")

ROWS = clustered(60, 8, seed=0)


def shards_of(folder, ids, rows=ROWS, size=10, bad=(), labels=None, model="a model"):
    """Shards as `keras_epos.scale.embed` writes them."""
    parts = range(0, len(ids), size)
    _shards.begin(folder, {"model": model, "rows": len(ids), "parts": len(parts), "job": "made"})
    for number, start in enumerate(parts):
        part = slice(start, start + size)
        columns = {"id": ids[part]} | ({} if labels is None else {"label": labels[part]})
        errors = ["bad" if one in bad else None for one in ids[part]]
        _shards.write(folder, number, pa.table(columns), rows[part], errors, "made")
    return Shards(folder)


@pytest.mark.parametrize("kind", [int, "it's {}".format], ids=["integers", "texts"])
def test_rows_are_those_of_the_shards(tmp_path, kind):
    ids = [kind(number) for number in range(60)]
    labels = [f"l{number % 7}" for number in range(60)]
    shards = shards_of(tmp_path / "shards", ids, bad=ids[13:15], labels=labels)
    gallery = LanceGallery(tmp_path / "table")
    assert gallery.add_shards(shards) == len(gallery) == 58
    assert gallery.fingerprint == "a model"
    assert gallery.add_shards(shards) == 0
    own = LanceGallery(tmp_path / "own", fingerprint="a model")
    kept = np.delete(np.arange(60), [13, 14])
    own.add(ROWS[kept], [ids[one] for one in kept], [labels[one] for one in kept])
    for queries in (ROWS[:9] + 0.1, ROWS[10:20]):
        found, expected = gallery.search(queries, 12), own.search(queries, 12)
        for name in ("ids", "labels", "similarity", "payload"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_ties_stand_in_the_order_of_the_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(_lance, "_SHARDS", 20)
    gallery = LanceGallery(tmp_path / "table")
    gallery.add_shards(shards_of(tmp_path / "shards", list(range(60)), np.ones((60, 8), np.float16)))
    assert gallery.version == 4
    assert gallery.search(np.ones((1, 8)), 60).ids[0].tolist() == list(range(60))


def test_a_call_that_was_stopped_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(_lance, "_SHARDS", 20)
    shards = shards_of(tmp_path / "shards", list(range(60)))
    real = _lance.batches_of

    def stops(files, schema, first):
        yield from real(files[:1], schema, first)
        if shards.files[2] in files:
            raise OSError("stopped")
        yield from real(files[1:], schema, first + 10)

    monkeypatch.setattr(_lance, "batches_of", stops)
    gallery = LanceGallery(tmp_path / "table")
    with pytest.raises(Exception, match="stopped"):
        gallery.add_shards(shards)
    assert len(gallery) == 20
    monkeypatch.setattr(_lance, "batches_of", real)
    again = LanceGallery(tmp_path / "table")
    assert again.add_shards(shards) == 40
    assert sorted(again.search(ROWS[:1], 60).ids[0]) == list(range(60))


def test_refused(tmp_path):
    ids = list(range(60))
    shards = shards_of(tmp_path / "shards", ids)
    gallery = LanceGallery(tmp_path / "table")
    gallery.add(ROWS[:1], ["other"])
    with pytest.raises(ValueError, match=r"`shards.fingerprint` must be what made the gallery, None"):
        gallery.add_shards(shards)
    with pytest.raises(ValueError, match=r"`shards.fingerprint` must be what made the gallery, 'another'"):
        LanceGallery(tmp_path / "another", fingerprint="another").add_shards(shards)
    gallery = LanceGallery(tmp_path / "dim", fingerprint="a model")
    gallery.add(np.eye(3), ["a", "b", "c"])
    with pytest.raises(ValueError, match="must have the 3 dimensions"):
        gallery.add_shards(shards)
    gallery = LanceGallery(tmp_path / "part", fingerprint="a model")
    gallery.add(ROWS[:2], [33, 31])
    with pytest.raises(ValueError, match=r"part-00000003\.parquet, of which 2 of 10 ids are, 31 among them"):
        gallery.add_shards(shards)
    assert len(gallery) == 2
    twice = shards_of(tmp_path / "twice", [*ids[:59], 3])
    with pytest.raises(ValueError, match=r"every id once\. Received: 3 in part-00000005\.parquet and before it"):
        LanceGallery(tmp_path / "new").add_shards(twice)
    # The integer and the text are two ids.
    assert LanceGallery(tmp_path / "texts").add_shards(shards_of(tmp_path / "more", [str(one) for one in ids])) == 60
    gallery = LanceGallery(tmp_path / "texts")
    assert gallery.add_shards(shards) == 60


def test_keys_that_two_ids_share_are_no_ids(tmp_path, monkeypatch):
    from keras_epos.gallery import _lance_shards

    monkeypatch.setattr(_lance_shards, "keys_of", lambda texts: np.array([hash(text) % 5 for text in texts], np.int64))
    gallery = LanceGallery(tmp_path / "table", fingerprint="a model")
    gallery.add(ROWS[:1], ["other"])
    assert gallery.add_shards(shards_of(tmp_path / "shards", list(range(60)), size=60)) == 60


def test_more_cells_and_candidates_find_more(tmp_path):
    rows = clustered(2000, 16, seed=0)
    gallery = LanceGallery(tmp_path / "table", nprobes=1, candidates=1)
    gallery.add_shards(shards_of(tmp_path / "shards", list(range(2000)), rows, 500))
    assert gallery.build_index("IVF_PQ", num_queries=0, num_partitions=16, num_sub_vectors=4) is None
    found = []
    for gallery.nprobes, gallery.candidates in [(1, 1), (16, 1), (16, 40)]:
        found.append(gallery.recall_of_engine(rows[:100], 10))
    assert found[0] < found[1] < found[2]
    assert found[2] > 0.98
    with pytest.raises(ValueError, match="`nprobes` must be"):
        LanceGallery(tmp_path / "table", nprobes=0)
