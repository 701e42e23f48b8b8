"""faiss names candidates; what the gallery answers is ranked exactly."""

import json
import sys

import numpy as np
import pytest
from gallery_oracle import clustered

import keras_epos
from keras_epos.gallery import Faiss, _faiss
from keras_epos.retrieval import nearest

ALL = clustered(3100, 32, seed=0)
ORDER = np.random.default_rng(0).permutation(len(ALL))
QUERIES, ROWS = ALL[ORDER[:100]], ALL[ORDER[100:]]

faiss = pytest.mark.usefixtures("installed")


@pytest.fixture
def installed():
    pytest.importorskip("faiss", reason="faiss is not installed")


def gallery(engine, **settings):
    made = keras_epos.Gallery(engine=engine, **settings)
    made.add(ROWS[:2000], range(2000), payload=[{"even": one % 2 == 0} for one in range(2000)])
    return made


@faiss
@pytest.mark.parametrize(
    ("engine", "least"),
    [
        ("faiss", 0.95),
        (Faiss("Flat", candidates=1), 1),
        (Faiss("HNSW32", "efSearch=200"), 0.99),
        (Faiss("IVF16,Flat", "nprobe=8"), 0.85),
        (Faiss("IVF16,Flat", "nprobe=16"), 1),
        (Faiss("IVF16,PQ16x4", "nprobe=16", candidates=20), 0.9),
        (Faiss("IVF16,RaBitQ", "nprobe=16", candidates=20), 0.7),
    ],
    ids=str,
)
def test_recall_and_similarities(engine, least):
    made = gallery(engine)
    assert made.recall_of_engine(QUERIES, 5) >= least
    # The index grows.
    made.add(ROWS[2000:], range(2000, 3000))
    found = made.search(QUERIES, 5)
    expected = nearest(QUERIES, ROWS, k=5)[1]
    assert np.mean([len(set(own) & set(exact)) for own, exact in zip(found.ids, expected, strict=True)]) >= 5 * least
    similarity = np.einsum("qd,qkd->qk", QUERIES, ROWS[found.ids.astype(int)])
    np.testing.assert_allclose(found.similarity, similarity, atol=3e-7)
    assert (np.diff(found.similarity, axis=1) <= 0).all()


@faiss
@pytest.mark.parametrize("storage", ["float16", "int8", "binary"])
def test_with_other_storages(storage):
    assert gallery(Faiss("Flat"), storage=storage).recall_of_engine(QUERIES, 5) >= 0.999


@faiss
def test_what_was_removed_is_not_found(monkeypatch):
    made = gallery(Faiss("Flat", candidates=1))
    index = made.search(QUERIES, 1) and made._index
    made.remove(range(0, 900))
    assert made._index is index
    expected = 900 + nearest(QUERIES, ROWS[900:2000], k=4)[1]
    assert (made.search(QUERIES, 4).ids == expected).all()
    # Nearly all: what remains is written anew, and so is the index.
    made.remove(range(900, 1990))
    expected = 1990 + nearest(QUERIES, ROWS[1990:2000], k=4)[1]
    assert (made.search(QUERIES, 4).ids == expected).all()
    assert made._index is not index
    assert made.search(QUERIES, 12).ids[:, 10:].tolist() == [[None, None]] * 100


@faiss
def test_where_is_exact():
    found = gallery(Faiss("IVF64,Flat", "nprobe=1")).search(QUERIES, 5, where={"even": True})
    assert (found.ids == 2 * nearest(QUERIES, ROWS[:2000:2], k=5)[1]).all()


@faiss
def test_queries_for_which_the_index_names_too_few_are_searched_exactly():
    made = gallery(Faiss("IVF64,Flat", "nprobe=1", candidates=1))
    assert (made.search(QUERIES, 1500).ids == nearest(QUERIES, ROWS[:2000], k=1500)[1]).all()


@faiss
def test_it_is_loaded_again(tmp_path):
    made = gallery(Faiss("IVF16,Flat", "nprobe=4", candidates=3))
    made.save(tmp_path)
    loaded = keras_epos.Gallery.load(tmp_path)
    assert loaded.engine == made.engine
    assert loaded.search(QUERIES, 3).ids.tolist() == made.search(QUERIES, 3).ids.tolist()
    assert keras_epos.Gallery.load(tmp_path, engine="exact").engine is None


@pytest.fixture
def trained(monkeypatch):
    """How often an index was made from nothing."""
    made = []
    own = _faiss.Index.__init__

    def counting(self, engine, dim, index=None):
        made.append(index is None)
        own(self, engine, dim, index)

    monkeypatch.setattr(_faiss.Index, "__init__", counting)
    return made


def named(folder):
    """What the manifest says of the index."""
    return json.loads((folder / "gallery.json").read_text())["gallery"]["index"]


def same(first, second, share=1):
    first, second = (one.search(QUERIES, 3) for one in (first, second))
    return np.mean((first.ids == second.ids) & (first.similarity == second.similarity)) >= share


@faiss
@pytest.mark.parametrize("factory", ["HNSW32", "IVF16,Flat", "IVF16,PQ16x4", "IVF16,RaBitQ"])
def test_what_is_built_is_saved_with_the_gallery(factory, tmp_path, trained):
    made = gallery(Faiss(factory, candidates=2))
    made.save(tmp_path)
    assert named(tmp_path) is None
    made.search(QUERIES, 1)
    made.save(tmp_path)
    assert named(tmp_path)["rows"] == 2000
    del trained[:]
    assert same(keras_epos.Gallery.load(tmp_path), made)
    assert trained == [False]
    # Rows that came later are in no file, and are appended when they are searched.
    made.add(ROWS[2000:], range(2000, 3000))
    made.remove(range(100))
    assert named(tmp_path)["rows"] == 2000
    loaded = keras_epos.Gallery.load(tmp_path)
    # HNSW draws the levels of new rows at random.
    assert same(loaded, made, 0.98 if factory == "HNSW32" else 1)
    assert trained == [False] * 2
    loaded.save(tmp_path)
    assert named(tmp_path)["rows"] == len(loaded._index) == 3000
    assert len(list(tmp_path.glob("*.index.faiss"))) == 1
    # A search by other settings goes on from the file, one by another index does not.
    keras_epos.Gallery.load(tmp_path, engine=Faiss(factory, candidates=5)).search(QUERIES, 3)
    assert trained[2:] == [False]
    keras_epos.Gallery.load(tmp_path, engine=Faiss("Flat")).search(QUERIES, 3)
    assert trained[3:] == [True]
    assert keras_epos.Gallery.load(tmp_path, engine="exact")._index is None


@faiss
def test_a_copy_of_the_folder_has_the_index_too(tmp_path, trained):
    made = gallery(Faiss("Flat"))
    made.search(QUERIES, 1)
    for folder in ("first", "second"):
        made.save(tmp_path / folder)
        made.save(tmp_path / folder)
    keras_epos.Gallery.load(tmp_path / "first").save(tmp_path / "third")
    for folder in ("first", "second", "third"):
        assert same(keras_epos.Gallery.load(tmp_path / folder), made)
    assert trained.count(True) == 1


@faiss
def test_an_index_of_rows_that_have_moved_is_not_kept(tmp_path, trained):
    made = gallery(Faiss("Flat", candidates=1))
    made.search(QUERIES, 1)
    made.save(tmp_path)
    # Nearly all: what remains is written anew, in other places.
    made.remove(range(0, 1500))
    assert named(tmp_path) is None
    assert not list(tmp_path.glob("*.index.faiss"))
    expected = 1500 + nearest(QUERIES, ROWS[1500:2000], k=3)[1]
    for one in (made, keras_epos.Gallery.load(tmp_path)):
        assert (one.search(QUERIES, 3).ids == expected).all()
    assert trained.count(True) == 3


@faiss
def test_a_damaged_index_is_named(tmp_path):
    made = gallery(Faiss("Flat"))
    made.search(QUERIES, 1)
    made.save(tmp_path)
    (path,) = tmp_path.glob("*.index.faiss")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match=f"{path.name} is damaged, its SHA-256"):
        keras_epos.Gallery.load(tmp_path)
    path.write_bytes(b"x" * len(whole))
    with pytest.raises(ValueError, match=f"{path.name} is damaged, faiss cannot read it"):
        keras_epos.Gallery.load(tmp_path, verify=False)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{path.name} is damaged, it is missing"):
        keras_epos.Gallery.load(tmp_path)


@faiss
def test_an_index_that_cannot_be_written_changes_nothing(tmp_path, monkeypatch):
    from keras_epos.gallery._files import Written

    made = gallery(Faiss("Flat"))
    made.save(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    made.search(QUERIES, 1)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Written, "write", full)
        with pytest.raises(OSError, match="No space left to write the gallery"):
            made.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert same(keras_epos.Gallery.load(tmp_path), made)


@faiss
def test_indexes_that_cannot_be():
    with pytest.raises(ValueError, match="must be an index that faiss knows"):
        gallery(Faiss("HSNW32")).search(QUERIES)
    with pytest.raises(ValueError, match="must be an index that faiss knows"):
        gallery(Faiss("HNSW32", "nprobe=many")).search(QUERIES)
    with pytest.raises(ValueError, match="must be an index that 2000 rows can train"):
        gallery(Faiss("IVF4096,Flat")).search(QUERIES)
    with pytest.raises(ValueError, match="`candidates` must be an integer"):
        Faiss(candidates=0)
    with pytest.raises(ValueError, match="`factory` must be a string"):
        Faiss(32)


def test_without_faiss_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"pip install keras-epos\[faiss\]"):
        keras_epos.Gallery(engine="faiss")
