"""faiss names candidates; what the gallery answers is ranked exactly."""

import sys

import numpy as np
import pytest
from gallery_oracle import clustered

import keras_epos
from keras_epos.gallery import Faiss
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
