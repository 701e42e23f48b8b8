"""A gallery in a SavedModel answers as it does in Python."""

import io

import keras
import numpy as np
import pytest

from keras_epos import EmbeddingModel, Gallery, export_savedmodel
from keras_epos.serving import _served_gallery as served_gallery

pytestmark = pytest.mark.backend("tensorflow", reason="only TensorFlow writes SavedModels")
RNG = np.random.default_rng(0)
SIZE, DIM = 8, 6


def network():
    layers = keras.layers
    keras.utils.set_random_seed(0)
    return EmbeddingModel(
        keras.Sequential([keras.Input((SIZE, SIZE, 3)), layers.Rescaling(1 / 255), layers.Flatten()]), DIM
    )


def picture(pixels):
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


PIXELS = RNG.integers(0, 256, (20, SIZE, SIZE, 3), np.uint8)
FILES = [picture(pixels) for pixels in PIXELS]


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def gallery(model):
    gallery = Gallery(model, threshold=0.9)
    # Copies are ties, and one row is taken away again.
    order = [*range(15), 3, 3, 4]
    gallery.add(PIXELS[order].astype("float32"), ids=range(18), labels=[f"class {row % 4}" for row in order])
    gallery.remove([5])
    return gallery


@pytest.fixture(scope="module")
def exported(model, gallery, tmp_path_factory):
    """With every signature. That exports are verified is tested where they have fewer and are made faster."""
    folder = tmp_path_factory.mktemp("models") / "birds"
    return export_savedmodel(model, folder, gallery=gallery, max_k=25, verify=False)


@pytest.fixture(scope="module")
def signatures(exported):
    import tensorflow as tf

    return tf.saved_model.load(str(exported)).signatures


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
