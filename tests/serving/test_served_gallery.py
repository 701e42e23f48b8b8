"""A gallery in a SavedModel answers as it does in Python."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from birds import DIM, FILES, PIXELS, network

from keras_epos import Gallery, export_savedmodel
from keras_epos.serving import _served_gallery as served_gallery

pytestmark = pytest.mark.backend("tensorflow", reason="only TensorFlow writes SavedModels")
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def vectors():
    """A model of vectors, which is exported in a second, and a gallery of it."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((12,), name="row"), keras.layers.Dense(256)])
    gallery = Gallery(fingerprint="mine", threshold=0.5)
    rows = np.concatenate([model(RNG.normal(size=(10, 12))), RNG.normal(size=(3990, 256))])
    gallery.add(rows.astype(np.float32), ids=[f"id of row {row:05d}" for row in range(4000)])
    return model, gallery


def texts(values):
    return np.where(np.equal(values, None), "", values).astype(str)


def check_search(found, expected):
    np.testing.assert_array_equal(found["ids"].numpy().astype(str), texts(expected.ids))
    np.testing.assert_array_equal(found["labels"].numpy().astype(str), texts(expected.labels))
    np.testing.assert_allclose(found["similarities"], expected.similarity, rtol=0, atol=1e-7)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(served_gallery, "REFERENCES", 50)
    monkeypatch.setattr(served_gallery, "QUERIES", 7)


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_the_ranking_is_that_of_the_gallery(storage, small_blocks):
    """Over several blocks, with copies of all scales, rows of zeros and rows that were removed."""
    import tensorflow as tf

    base = RNG.normal(size=(60, DIM))
    rows = np.concatenate([base, 3 * base, base, np.zeros((2, DIM)), *[base[:1]] * 40, RNG.normal(size=(90, DIM))])
    labels = [number % 7 if number < 100 else f"x{number % 5}" for number in range(len(rows))]
    gallery = Gallery(storage=storage, threshold=0.7)
    gallery.add(rows[:100].astype(np.float32), range(100), labels[:100])
    gallery.add(rows[100:].astype(np.float32), range(100, len(rows)), labels[100:])
    gallery.remove([3, 50, 200])
    served = served_gallery.ServedGallery(gallery)
    queries = np.concatenate([RNG.normal(size=(20, DIM)), base[:10], np.zeros((1, DIM))]).astype(np.float32)
    search = tf.function(served.search, [tf.TensorSpec((None, DIM)), tf.TensorSpec(None, tf.int32)], autograph=False)
    for k in (1, 3, 10, 100):
        check_search(search(queries, k), gallery.search(queries, k))
    found, expected = served.match(queries), gallery.match(queries)
    np.testing.assert_array_equal(found["label"].numpy().astype(str), texts(expected.labels))
    np.testing.assert_array_equal(found["accepted"], expected.accepted)
    np.testing.assert_array_equal(found["similarity"], expected.similarity)
    assert 0 < expected.accepted.sum() < len(queries)
    assert search(queries[:0], 3)["ids"].shape[0] == 0


def test_bytes_are_searched_and_matched_as_the_gallery_does(gallery, signatures):
    import tensorflow as tf

    assert set(signatures) == {
        *("embed", "embed_bytes", "serving_default", "search", "search_bytes", "match", "match_bytes")
    }
    images = PIXELS.astype("float32")
    for k in (1, 4, 25):
        check_search(
            signatures["search_bytes"](image_bytes=tf.constant(FILES), k=tf.constant(k)), gallery.search(images, k)
        )
    found, expected = signatures["match_bytes"](image_bytes=tf.constant(FILES)), gallery.match(images)
    np.testing.assert_array_equal(found["label"].numpy().astype(str), texts(expected.labels))
    np.testing.assert_array_equal(found["id"].numpy().astype(str), texts(expected.ids))
    np.testing.assert_array_equal(found["accepted"], expected.accepted)


def test_one_bad_row_does_not_fail_its_request(signatures):
    import tensorflow as tf

    files = tf.constant([FILES[0], FILES[1][:60], b"", FILES[2]])
    good = signatures["search_bytes"](image_bytes=tf.constant([FILES[0], FILES[2]]), k=tf.constant(3))
    found = signatures["search_bytes"](image_bytes=files, k=tf.constant(3))
    assert found["valid"].numpy().tolist() == [True, False, False, True]
    assert np.isnan(found["similarities"].numpy()[1:3]).all()
    assert (found["ids"].numpy()[1:3] == b"").all()
    assert (found["labels"].numpy()[1:3] == b"").all()
    for name in ("ids", "labels", "similarities"):
        np.testing.assert_array_equal(found[name].numpy()[[0, 3]], good[name])
    found = signatures["match_bytes"](image_bytes=files)
    assert found["valid"].numpy().tolist() == [True, False, False, True]
    assert found["label"].numpy()[1:3].tolist() == [b"", b""]
    assert not found["accepted"].numpy()[1:3].any()
    rows = np.eye(3, DIM, dtype=np.float32)
    rows[1, 2] = np.nan
    assert signatures["search"](embedding=tf.constant(rows), k=tf.constant(1))["valid"].numpy().tolist() == [
        True,
        False,
        True,
    ]


def test_k_may_be_one_number_or_one_a_row(signatures):
    import tensorflow as tf

    search, rows = signatures["search"], np.eye(3, DIM, dtype=np.float32)
    one = search(embedding=tf.constant(rows), k=tf.constant(4))
    for k in ([4], [4, 4, 4]):
        np.testing.assert_array_equal(search(embedding=tf.constant(rows), k=tf.constant(k))["ids"], one["ids"])
    found = search(embedding=tf.constant(rows), k=tf.constant([1, 4, 2]))
    assert (found["ids"].numpy() != b"").sum(axis=1).tolist() == [1, 4, 2]
    assert np.isneginf(found["similarities"].numpy()).sum(axis=1).tolist() == [3, 0, 2]
    for k in (0, -1, 26, [1, 26, 1], [1, 2]):
        with pytest.raises(tf.errors.InvalidArgumentError):
            search(embedding=tf.constant(rows), k=tf.constant(k))
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        search(embedding=tf.zeros((3, DIM + 1)), k=tf.constant(1))


def test_the_rows_are_variables_and_no_constants(vectors, tmp_path):
    import tensorflow as tf

    model, gallery = vectors
    path = export_savedmodel(model, tmp_path, gallery=gallery, fingerprint="mine", gallery_storage="int8")
    assert (path / "saved_model.pb").stat().st_size < 200_000
    saved = dict(tf.train.list_variables(str(path / "variables" / "variables")))
    assert [4000, 256] in saved.values()
    kinds = tf.train.load_checkpoint(str(path / "variables" / "variables")).get_variable_to_dtype_map()
    assert [name for name in saved if kinds[name] == tf.int8 and saved[name] == [4000, 256]]
    assert [name for name in saved if kinds[name] == tf.string and saved[name] == [4000]]


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_fewer_bits_stay_near(model, gallery, storage):
    images = PIXELS.astype("float32")
    served = served_gallery.ServedGallery(gallery, storage=storage)
    found, expected = served.search(model(images), 3), gallery.search(images, 3)
    np.testing.assert_allclose(found["similarities"], expected.similarity, rtol=0, atol=1e-2)
    assert served.rows.dtype == storage


def test_what_does_not_fit_is_refused(model, gallery, tmp_path):
    other, rows = network(), np.eye(2, DIM)
    other.embedding.kernel.assign(other.embedding.kernel + 1)
    named, same, empty = Gallery(fingerprint="mine"), Gallery(), Gallery(dim=DIM)
    named.add(rows, ids=[1, 2])
    same.add(rows, ids=[1, "1"])
    wide = Gallery()
    wide.add(np.eye(2, DIM + 1), ids=[1, 2])
    for arguments, message in (
        ({"model": other, "gallery": gallery}, "`model` must be what made the gallery"),
        ({"gallery": named}, "`model` must be what made the gallery"),
        ({"gallery": named, "fingerprint": "yours"}, "`fingerprint` must be what made the gallery"),
        ({"gallery": same}, "ids that differ as strings"),
        ({"gallery": empty}, "`gallery` must have rows"),
        ({"gallery": "folder"}, "`gallery` must be a keras_epos.Gallery"),
        ({"gallery": wide}, "dimensions"),
        ({"gallery": gallery, "threshold": 2}, "`threshold` must be"),
        ({"gallery": gallery, "max_k": 0}, "`max_k` must be"),
        ({"gallery": gallery, "gallery_storage": "binary"}, "`gallery_storage` must be"),
        ({"threshold": 0.5}, "`threshold` must come with a `gallery`"),
    ):
        with pytest.raises(ValueError, match=message):
            export_savedmodel(**{"model": model, "directory": tmp_path / "new"} | arguments)
    assert not list(tmp_path.rglob("*.pb"))


def test_an_export_that_answers_otherwise_is_refused(vectors, tmp_path, monkeypatch):
    (model, gallery), block = vectors, served_gallery.ServedGallery._block
    monkeypatch.setattr(
        served_gallery.ServedGallery, "_block", lambda *arguments: (-block(*arguments)[0], block(*arguments)[1])
    )
    with pytest.raises(ValueError, match="same answers after export"):
        export_savedmodel(model, tmp_path, gallery=gallery, fingerprint="mine")


def test_an_image_size_that_the_backbone_does_not_take_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match=r"`image_size` must be the \(8, 8\) of the model"):
        export_savedmodel(model, tmp_path, image_size=16)


BY_C_API = """
import sys
import numpy as np
sys.modules["keras"] = sys.modules["keras_epos"] = None
import c_api
model, inputs = c_api.SavedModel(sys.argv[1]), np.load(sys.argv[2], allow_pickle=True)
found = {}
for signature, (takes, gives) in model.signatures.items():
    if not signature.startswith("__"):
        answer = model.run(signature, **{name: inputs[name] for name in takes})
        found |= {f"{signature} {name}": value for name, value in answer.items()}
np.savez(sys.argv[3], **found)
assert "tensorflow" not in sys.modules
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the libraries have other names")
def test_every_signature_answers_through_the_c_api(gallery, exported, signatures, tmp_path):
    """By the code that TensorFlow Serving loads with, and without Keras and `import tensorflow`."""
    import tensorflow as tf

    embedding = np.random.default_rng(1).normal(size=(3, DIM)).astype(np.float32)
    inputs = {"image": PIXELS.astype("float32"), "image_bytes": np.array([*FILES, b"no image"], object)}
    inputs |= {"embedding": embedding, "k": np.array(4, np.int32)}
    np.savez(tmp_path / "in.npz", **inputs)
    command = [sys.executable, "-c", BY_C_API, exported, tmp_path / "in.npz", tmp_path / "out.npz"]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(Path(__file__).parent)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    found, seen = np.load(tmp_path / "out.npz", allow_pickle=True), set()
    for signature, function in signatures.items():
        _, takes = function.structured_input_signature
        for name, expected in function(
            **{name: tf.constant(inputs[name].tolist(), spec.dtype) for name, spec in takes.items()}
        ).items():
            seen.add(f"{signature} {name}")
            own, expected = found[f"{signature} {name}"], expected.numpy()
            if expected.dtype.kind == "f":
                np.testing.assert_allclose(own, expected, rtol=0, atol=1e-6)
            else:
                np.testing.assert_array_equal(own, expected)
    assert set(found.files) == seen
    assert {one.split()[0] for one in seen} == {
        *("embed", "embed_bytes", "serving_default", "search", "search_bytes", "match", "match_bytes")
    }
    expected = gallery.search(PIXELS.astype("float32"), 4)
    np.testing.assert_array_equal(found["search_bytes ids"][:-1].astype(str), texts(expected.ids))
    np.testing.assert_allclose(found["search_bytes similarities"][:-1], expected.similarity, rtol=0, atol=1e-7)
    assert found["search_bytes valid"].tolist() == [True] * len(FILES) + [False]
