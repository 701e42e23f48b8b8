"""Exact search, filters and what may be given, against loops in float64."""

import keras
import numpy as np
import pytest
from gallery_oracle import Oracle, check, clustered
from gallery_writer import run

import keras_epos
from keras_epos._rows import Rows
from keras_epos.gallery import _search, _segment
from keras_epos.reference import unit
from keras_epos.retrieval import nearest


def rows_of(kind, number, dim, generator):
    if kind == "random":
        return generator.normal(size=(number, dim)).astype("float32")
    if kind == "tied":
        return generator.integers(-1, 2, (number, dim)).astype("float32")
    if kind == "copies":
        return np.repeat(generator.normal(size=(1, dim)), number, axis=0).astype("float32")
    scale = 10.0 ** generator.integers(-30, 30, (number, 1))
    return (scale * generator.normal(size=(number, dim))).astype("float32")


def lengths(number):
    return np.random.default_rng(3).uniform(0.01, 0.2, (number, 1)).astype("float32")


def even(payload):
    return payload.get("number", 1) % 2 == 0


@pytest.mark.parametrize("kind", ["random", "tied", "copies", "any scale"])
@pytest.mark.parametrize("joined", [0, 2**25])
def test_random_additions_and_removals(kind, joined, monkeypatch):
    """In blocks that are smaller than the gallery, with segments joined and not."""
    monkeypatch.setattr(_search, "WIDTH", 64)
    monkeypatch.setattr(_segment, "JOINED", joined)
    generator = np.random.default_rng(sum(map(ord, kind)) + joined)
    gallery, oracle, next_id = keras_epos.Gallery(), Oracle(), 0
    for step in range(25):
        if oracle.rows and generator.random() < 0.4:
            ids = [row[1] for row in oracle.rows]
            chosen = generator.permutation(len(ids))[: 1 + generator.integers(len(ids))]
            gone = [ids[place] for place in chosen[: 1 + len(ids) // int(generator.integers(1, 5))]]
            gallery.remove(gone)
            oracle.remove(gone)
        else:
            number = int(generator.integers(1, 60))
            rows = rows_of(kind, number, 3, generator)
            ids = [one if one % 3 else f"id {one}" for one in range(next_id, next_id + number)]
            labels = [f"label {one % 5}" if one % 2 else one % 5 for one in range(number)]
            payload = [{"number": one % 7, "camera": "abc"[one % 3]} for one in range(number)]
            next_id += number
            gallery.add(rows, ids, labels, payload)
            oracle.add(rows, ids, labels, payload)
        assert len(gallery) == len(oracle.rows)
        assert gallery.ids.tolist() == [row[1] for row in oracle.rows]
        assert gallery.labels.tolist() == [row[2] for row in oracle.rows]
        queries = rows_of(kind, 5, 3, generator)
        check(gallery, oracle, queries, int(generator.integers(1, 30)))
        if step % 3 == 0:
            check(gallery, oracle, queries, 5, even, even)
            check(gallery, oracle, queries, 5, {"camera": "a"}, lambda payload: payload["camera"] == "a")
            wanted = {"camera": ["a", "c"], "number": (1, 2, 3)}
            check(gallery, oracle, queries, 5, wanted, lambda one: one["camera"] in "ac" and one["number"] in (1, 2, 3))


@pytest.mark.parametrize("number", [1, 20, 40, 700])
def test_as_nearest_says(number, monkeypatch):
    """Also with more queries than dimensions, and fewer, for each has its own product."""
    monkeypatch.setattr(_search, "WIDTH", 512)
    monkeypatch.setattr("keras_epos.gallery._segment.JOINED", 0)
    rows = clustered(3000, 32, seed=0) * lengths(3000)
    queries = clustered(number, 32, seed=1)
    gallery = keras_epos.Gallery()
    for start in range(0, 3000, 1000):
        gallery.add(rows[start : start + 1000], np.arange(start, start + 1000))
    similarity, indices = nearest(queries, rows, k=7)
    found = gallery.search(queries, 7)
    assert (found.ids.astype(int) == indices).all()
    np.testing.assert_allclose(found.similarity, similarity, rtol=0, atol=1e-7)


@pytest.mark.parametrize("number", [1, 3])
def test_blocks_reach_over_segments(number, monkeypatch):
    """What a wrong block misses the search would find by its exact way, only slower."""
    monkeypatch.setattr("keras_epos.gallery._segment.JOINED", 0)
    rows, queries = clustered(300, 8, seed=0), clustered(number, 8, seed=1)
    gallery = keras_epos.Gallery()
    for start in range(0, 300, 100):
        gallery.add(rows[start : start + 100], np.arange(start, start + 100))
    product = _search.StoredProduct(Rows(queries), _search.View(gallery._segments, 8, "float32"))
    [(start, similarity)] = product.by_block(np.arange(number))
    assert start == 0
    np.testing.assert_allclose(similarity, unit(queries) @ unit(rows).T, atol=product.error)


@pytest.mark.parametrize("copies", [5, 40, 900])
def test_ties_at_the_border_are_first_added(copies, monkeypatch):
    monkeypatch.setattr(_search, "WIDTH", 256)
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(1000, 8)).astype("float32")
    places = np.sort(generator.permutation(1000)[:copies])
    # Of another length, so that what is equal is not so to the bit.
    rows[places] = rows[0] * generator.uniform(0.5, 2, (copies, 1)).astype("float32").round(1)
    exact = np.zeros((1, 8), "float32")
    exact[0, 0] = 1
    rows[places] = exact * np.array([0.1, 0.7, 3.0], "float32")[np.arange(copies) % 3, None]
    gallery = keras_epos.Gallery()
    gallery.add(rows, np.arange(1000))
    assert gallery.search(exact, 5).ids[0].tolist() == places[:5].tolist()


@pytest.mark.parametrize("bits", [11, 8])
def test_where_the_backend_rounds_factors(bits, monkeypatch):
    """As on GPUs: what comes of it must be the same."""
    monkeypatch.setattr("keras_epos.retrieval._product.significant_bits", lambda *_: bits)
    rows = clustered(500, 16, seed=0) * lengths(500)
    gallery = keras_epos.Gallery()
    gallery.add(rows, np.arange(500))
    assert (gallery.search(rows[:50], 5).ids.astype(int) == nearest(rows[:50], rows, k=5)[1]).all()


def test_other_dtypes():
    rows = np.random.default_rng(0).normal(size=(200, 6))
    for values in (rows, 1e200 * rows, rows.astype("float16"), (1000 * rows).astype("int64")):
        gallery = keras_epos.Gallery()
        gallery.add(values, np.arange(200))
        assert (gallery.search(values, 1).ids[:, 0] == np.arange(200)).all()
        np.testing.assert_allclose(gallery.search(values, 1).similarity, 1, atol=1e-6)


def test_what_is_given_is_copied():
    rows, payload = np.eye(3, dtype="float32"), [{"list": [1]}, {}, {}]
    gallery = keras_epos.Gallery()
    ids = np.arange(3)
    gallery.add(rows, ids, payload=payload)
    rows[:] = 1
    ids[:] = 7
    payload[0]["list"].append(2)
    found = gallery.search(np.eye(3), 1)
    assert found.ids[:, 0].tolist() == [0, 1, 2]
    found.payload[0, 0]["list"].append(3)
    assert gallery.search(np.eye(3), 1).payload[0, 0] == {"list": [1]}


def test_an_empty_gallery_finds_nothing():
    gallery = keras_epos.Gallery(threshold=0.5)
    for _ in range(2):
        found = gallery.search(np.eye(3), 2)
        assert found.ids.tolist() == [[None] * 2] * 3
        assert found.payload.tolist() == [[{}] * 2] * 3
        assert (found.similarity == -np.inf).all()
        matches = gallery.match(np.eye(3))
        assert matches.labels.tolist() == ["unknown"] * 3
        assert not matches.accepted.any()
        gallery.add(np.eye(3), ["a", "b", "c"])
        gallery.remove(["a", "b", "c"])
    assert gallery.ids.tolist() == gallery.labels.tolist() == []


def test_ids_that_python_takes_for_equal_or_hashes_alike():
    ids = [-1, -2, "-1", 2**63, 2**61 - 1, 0, "", -(2**63)]
    gallery = keras_epos.Gallery()
    gallery.add(np.eye(8), ids)
    assert gallery.ids.tolist() == ids
    gallery.remove([-2, 2**63])
    gallery.add(np.eye(8)[:1], [-2])
    assert gallery.ids.tolist() == [-1, "-1", 2**61 - 1, 0, "", -(2**63), -2]
    with pytest.raises(ValueError, match="ids\\[1\\]=0, which is"):
        gallery.add(np.eye(8)[:2], [1, 0])
    for ids in ([hash("x"), "x"], ["x", hash("x")]):
        gallery = keras_epos.Gallery()
        gallery.add(np.eye(2), ids)
        for number, one in enumerate(ids):
            gallery.remove([one])
            assert gallery.ids.tolist() == ids[number + 1 :]


def test_replace():
    gallery = keras_epos.Gallery()
    gallery.add(np.eye(3), ["a", "b", "c"], [1, 2, 3])
    gallery.add(np.eye(3)[[2, 0]], ["a", "d"], [4, 5], replace=True)
    assert gallery.ids.tolist() == ["b", "c", "a", "d"]
    assert gallery.search(np.eye(3), 1).labels[:, 0].tolist() == [5, 2, 3]


def test_a_missing_field_is_none():
    gallery = keras_epos.Gallery()
    gallery.add(np.eye(3), [0, 1, 2], payload=[{"a": None}, {"a": [1]}, {}])
    gallery.add(np.eye(3), [3, 4, 5])
    assert set(gallery.search(np.eye(3)[:1], 6, {"a": None}).ids[0]) == {0, 2, 3, 4, 5, None}
    assert set(gallery.search(np.eye(3)[:1], 6, lambda payload: "a" in payload).ids[0]) == {0, 1, None}
    assert gallery.search(np.eye(3)[:1], 2, {"a": "b"}).ids[0].tolist() == [None, None]


WRONG = {
    "rows of another length": (lambda one: one.add(np.eye(4), range(10, 14)), "`inputs` must have the 3 dimensions"),
    "queries of another length": (lambda one: one.search(np.eye(4)), "`queries` must have the 3 dimensions"),
    "NaN": (lambda one: one.add(np.eye(3) * np.nan, [5, 6, 7]), "`inputs` must be finite"),
    "an id twice": (lambda one: one.add(np.eye(3), [5, 5, 6]), "must be unique. Received: ids with 5 more"),
    "an id twice among strings": (lambda one: one.add(np.eye(3), ["x", 5, "x"]), "unique. Received: ids with 'x'"),
    "an id that is there": (lambda one: one.add(np.eye(3), [5, 1, 6]), "ids[1]=1, which is. Pass `replace=True`"),
    "a boolean id": (lambda one: one.add(np.eye(3), [True, 5, 6]), "ids[0]=True"),
    "an id of None": (lambda one: one.add(np.eye(3), [5, None, 6]), "ids[1]=None"),
    "a float id": (lambda one: one.add(np.eye(3), [5.0, 6.0, 7.0]), "ids[0]=5.0"),
    "one string": (lambda one: one.add(np.eye(3), "abc"), "ids='abc'"),
    "ids of two columns": (lambda one: one.add(np.eye(3), np.zeros((3, 2), int)), "ids=(3, 2) int64"),
    "too few ids": (lambda one: one.add(np.eye(3), [5]), "one entry for each of 3 rows. Received: 1"),
    "too few labels": (lambda one: one.add(np.eye(3), [5, 6, 7], [1]), "`labels` must have one entry for each"),
    "labels of floats": (lambda one: one.add(np.eye(3), [5, 6, 7], [1.5, 2, 3]), "labels[0]=1.5"),
    "payload of one": (lambda one: one.add(np.eye(3), [5, 6, 7], payload={}), "list of 3 dictionaries"),
    "payload of bytes": (lambda one: one.add(np.eye(3), [5, 6, 7], payload=[{}, {"a": b""}, {}]), "payload[1]="),
    "payload of integers": (lambda one: one.add(np.eye(3), [5, 6, 7], payload=[{}, {}, {1: 2}]), "payload[2]={1: 2}"),
    "payload of NaN": (lambda one: one.add(np.eye(3), [5, 6, 7], payload=[{"a": np.nan}] * 3), "payload[0]="),
    "an absent id": (lambda one: one.remove([1, 9, 8]), "ids[1]=9, which is not, and 1 others"),
    "k": (lambda one: one.search(np.eye(3), 0), "`k` must be an integer of at least 1"),
    "where": (lambda one: one.search(np.eye(3), where="a"), "`where` must be a dictionary"),
    "no threshold": (lambda one: one.match(np.eye(3)), "keras_epos.calibrate"),
    "storage": (lambda one: keras_epos.Gallery(storage="int4"), "Did you mean 'int8'"),
    "engine": (lambda one: keras_epos.Gallery(engine="hnswlib"), "`engine` must be"),
    "model": (lambda one: keras_epos.Gallery("a model"), "`model` must be a keras.Model"),
    "fingerprint": (lambda one: keras_epos.Gallery(fingerprint=3), "`fingerprint` must be a string"),
    "threshold": (lambda one: keras_epos.Gallery(threshold=2), "`threshold` must be a cosine similarity in [-1, 1]"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_named_and_change_nothing(case):
    act, message = WRONG[case]
    gallery = keras_epos.Gallery()
    gallery.add(np.eye(3), [0, 1, 2])
    with pytest.raises(ValueError, match="`") as error:
        act(gallery)
    assert message in str(error.value)
    assert gallery.ids.tolist() == [0, 1, 2]
    assert gallery.search(np.eye(3), 1).ids[:, 0].tolist() == [0, 1, 2]


def model(seed):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [keras.Input((4, 4, 3), name="images"), keras.layers.Flatten(), keras.layers.Dense(5, name="d")]
    )


def test_a_model_embeds_what_it_is_given():
    own, images = model(0), np.random.default_rng(0).normal(size=(20, 4, 4, 3)).astype("float32")
    gallery = keras_epos.Gallery(own)
    gallery.add(images, range(20))
    assert (gallery.search(images, 1).ids[:, 0] == np.arange(20)).all()
    # Embeddings that it made are taken where they say so.
    found = gallery.search(own.predict(images, verbose=0), 1, fingerprint=gallery.fingerprint)
    assert (found.ids[:, 0] == np.arange(20)).all()
    with pytest.raises(ValueError, match="embed both sides by one"):
        gallery.search(images, fingerprint="another")


def test_the_fingerprint_of_a_model():
    first, second = keras_epos.Gallery(model(0)).fingerprint, keras_epos.Gallery(model(1)).fingerprint
    assert len(first) == 64
    assert first != second
    same = model(0)
    same.compile("sgd", "mse")
    same.layers[-1].trainable = False
    assert keras_epos.Gallery(same).fingerprint == first
    same.layers[-1].activation = keras.activations.relu
    assert keras_epos.Gallery(same).fingerprint != first
    with pytest.raises(ValueError, match="`fingerprint` must be what made the gallery"):
        keras_epos.Gallery(model(0), fingerprint=second)


def test_the_fingerprint_is_that_of_another_process(tmp_path):
    own = model(0)
    own.save(tmp_path / "model.keras")
    program = (
        "import sys, keras, keras_epos\n"
        "keras.Sequential([keras.layers.Dense(1)])\n"
        "print(keras_epos.Gallery(keras.saving.load_model(sys.argv[1])).fingerprint)"
    )
    assert run(program, tmp_path / "model.keras") == keras_epos.Gallery(own).fingerprint


def test_a_model_without_configuration():
    class Own(keras.Model):
        def __init__(self, units):
            super().__init__()
            self.dense = keras.layers.Dense(units)

        def call(self, inputs):
            return self.dense(inputs)

    gallery = keras_epos.Gallery(Own(3))
    gallery.add(np.eye(4), range(4))
    assert gallery.dim == 3


def test_fingerprints_of_strings():
    gallery = keras_epos.Gallery(fingerprint="clip")
    gallery.add(np.eye(3), range(3), fingerprint="clip")
    for act in (
        lambda: gallery.search(np.eye(3), fingerprint="dino"),
        lambda: gallery.add(np.eye(3), [7, 8, 9], fingerprint="dino"),
    ):
        with pytest.raises(ValueError, match=r"what made the gallery, 'clip'\. Received: fingerprint='dino'"):
            act()
    assert gallery.search(np.eye(3), 1, fingerprint="clip").ids[:, 0].tolist() == [0, 1, 2]
    # Embeddings that state nothing are taken as they are.
    assert gallery.search(np.eye(3), 1).ids[:, 0].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="what made the gallery, None"):
        keras_epos.Gallery().search(np.eye(3), fingerprint="clip")


@pytest.mark.parametrize("number", [1, 5, 40], ids=["by NumPy", "fewer than dimensions", "more"])
@pytest.mark.parametrize("norm", [1, 1 + 2**-23, 1 + 2**-12, 3])
def test_fast_similarities_are_within_their_bound(norm, number):
    """Rows whose norm is 1 are not scaled, all others are."""
    generator = np.random.default_rng(0)
    rows = (norm * unit(generator.normal(size=(300, 16)))).astype("float32")
    queries = rows[:number] + generator.normal(size=(number, 16)).astype("float32") / 50
    gallery = keras_epos.Gallery()
    gallery.add(rows, range(300))
    product = _search.StoredProduct(Rows(queries), _search.View(gallery._segments, 16, "float32"))
    [(start, found)] = product.by_block(np.arange(number))
    exact = unit(queries.astype("float64")) @ unit(rows.astype("float64")).T
    assert start == 0
    assert np.abs(keras.ops.convert_to_numpy(found) - exact).max() <= product.error
