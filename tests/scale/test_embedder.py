"""The embedder gives in any process what the model gives, and a reason where there is no image."""

import io
import pickle
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_epos
from keras_epos.scale import Embedder

SIZE = (6, 8)


def network(channels=3, scale=1.0, size=SIZE):
    layers = [keras.Input((*size, channels)), keras.layers.Flatten(), keras.layers.Rescaling(scale)]
    model = keras.Sequential([*layers, keras.layers.Dense(5, use_bias=False)], name="flat")
    weights = np.random.default_rng(0).normal(size=(size[0] * size[1] * channels, 5)) if None not in size else None
    model.set_weights([weights]) if weights is not None else None
    return model


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def place(model, tmp_path_factory):
    place = tmp_path_factory.mktemp("embedder")
    model.save(place / "model.keras")
    generator = np.random.default_rng(1)
    for number in range(10):
        Image.fromarray(generator.integers(0, 256, (9, 11, 3), np.uint8)).save(place / f"{number}.png")
    return place


@pytest.fixture(scope="module")
def paths(place):
    return [str(place / f"{number}.png") for number in range(10)]


@pytest.fixture(scope="module")
def expected(model, paths):
    """As one process does it."""
    images = [keras.ops.convert_to_numpy(image) for image in keras_epos.data.image_batches(paths, SIZE, 10)]
    return model.predict(np.concatenate(images), verbose=0)


def test_it_is_small_and_the_same_after_pickling(place, paths, expected, model):
    embedder = Embedder(place / "model.keras", batch_size=4)
    sent = pickle.dumps(embedder)
    assert len(sent) < 2000
    again = pickle.loads(sent)
    assert again._loaded is None
    assert again.fingerprint == embedder.fingerprint == keras_epos.Gallery(model).fingerprint
    for one in (embedder, again):
        found = one({"id": np.arange(10), "path": paths})
        np.testing.assert_allclose(found["embedding"], expected, rtol=1e-5, atol=1e-3)
        assert found["embedding"].dtype == np.float32
        assert list(found["error"]) == [None] * 10
        assert found["id"].tolist() == list(range(10))
        assert found["path"] == paths


def test_bytes_are_taken_and_not_handed_on(place, paths, expected):
    contents = [Path(path).read_bytes() for path in paths]
    found = Embedder(place / "model.keras")({"bytes": contents, "label": list("abcdefghij")})
    np.testing.assert_allclose(found["embedding"], expected, rtol=1e-5, atol=1e-3)
    assert set(found) == {"label", "embedding", "error"}


def test_the_model_always_gets_as_many_images(place, paths, monkeypatch):
    embedder = Embedder(place / "model.keras", batch_size=4)
    embed, decode = embedder._loaded
    sizes = []
    monkeypatch.setattr(embedder, "_loaded", (lambda images: sizes.append(images.shape) or embed(images), decode))
    assert embedder({"path": paths})["embedding"].shape == (10, 5)
    assert embedder({"path": []})["embedding"].shape == (0, 5)
    assert sizes == [(4, *SIZE, 3)] * 4


def test_what_cannot_be_read_has_a_reason_and_disturbs_nobody(place, paths, expected):
    # The second one is the path of an image, and none.
    contents = [Path(path).read_bytes() for path in paths]
    contents[2:5] = [b"nothing", paths[0].encode(), b""]
    found = Embedder(place / "model.keras", batch_size=4)({"bytes": contents})
    bad = [2, 3, 4]
    assert [place for place, error in enumerate(found["error"]) if error is not None] == bad
    assert all("node" not in found["error"][one] and "must be the contents" in found["error"][one] for one in bad)
    assert np.isnan(found["embedding"][bad]).all()
    good = np.setdiff1d(range(10), bad)
    np.testing.assert_allclose(found["embedding"][good], expected[good], rtol=1e-5, atol=1e-3)
    found = Embedder(place / "model.keras")({"path": [*paths[:2], str(place / "none.png"), ""]})
    assert "FileNotFoundError" in found["error"][2]
    # And not that the working directory is no file.
    assert found["error"][3] == "There is no path."
    assert list(found["error"][:2]) == [None, None]


def test_what_is_not_finite_is_an_error(place, paths):
    network(scale=1e4).save(place / "large.keras")
    found = Embedder(place / "large.keras", dtype="float16")({"path": paths})
    assert found["embedding"].dtype == np.float16
    is_bad = np.array([error is not None for error in found["error"]])
    assert is_bad.any()
    assert np.isnan(found["embedding"][is_bad]).all()
    assert np.isfinite(found["embedding"][~is_bad]).all()
    assert list(Embedder(place / "large.keras")({"path": paths})["error"]) == [None] * 10


def test_another_file_or_backend_is_refused(place, paths, monkeypatch):
    embedder = pickle.loads(pickle.dumps(Embedder(place / "model.keras")))
    monkeypatch.setattr(embedder, "_backend", "another")
    with pytest.raises(ValueError, match=r"'another', with which the embedder was made.*KERAS_BACKEND"):
        embedder({"path": paths})
    (place / "changes.keras").write_bytes((place / "model.keras").read_bytes())
    embedder = pickle.loads(pickle.dumps(Embedder(place / "changes.keras")))
    network(scale=2.0).save(place / "changes.keras")
    with pytest.raises(ValueError, match="has changed since"):
        embedder({"path": paths})


def test_refused(place, tmp_path):
    (tmp_path / "text.keras").write_text("no model")
    network(channels=1).save(tmp_path / "gray.keras")
    network(channels=4).save(tmp_path / "infrared.keras")
    for arguments, message in [
        ((tmp_path / "text.keras",), "`model` must be a .keras file that can be loaded"),
        ((tmp_path / "gray.keras",), "must take RGB images.*1 channels"),
        ((tmp_path / "infrared.keras",), "must take RGB images.*4 channels"),
        ((tmp_path,), "`model` must be a .keras file, or a folder that keras_epos.export"),
        ((place / "model.keras", 32), "`image_size` must be the"),
    ]:
        with pytest.raises(ValueError, match=message):
            Embedder(*arguments)
    with pytest.raises(ValueError, match="`format` is for the folder of an export"):
        Embedder(place / "model.keras", format="onnx")
    with pytest.raises(ValueError, match="`dtype` must be one of"):
        Embedder(place / "model.keras", dtype="int8")
    with pytest.raises(ValueError, match=r"must have a column `bytes` or `path`. Received: batch with \['id'\]"):
        Embedder(place / "model.keras")({"id": [1]})


@pytest.mark.backend("tensorflow", reason="writes a SavedModel")
def test_an_export_has_the_fingerprint_of_its_model(model, place, paths, expected):
    keras_epos.export(model, place / "exported", ["savedmodel"], half=False, int8=False)
    for format in (None, "savedmodel"):
        embedder = pickle.loads(pickle.dumps(Embedder(place / "exported", format=format)))
        assert embedder.fingerprint == keras_epos.Gallery(model).fingerprint
        assert embedder.image_size == SIZE
        found = embedder({"path": paths})["embedding"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=0.1)
    (place / "exported" / "savedmodel" / "embed" / "1" / "another").write_bytes(b"file")
    with pytest.raises(ValueError, match="has changed since"):
        pickle.loads(pickle.dumps(embedder))({"path": paths})
    with pytest.raises(ValueError, match="`format` must be one of"):
        Embedder(place / "exported", format="openvino")
    with pytest.raises(ValueError, match="`image_size` must be the"):
        Embedder(place / "exported", 32)


def test_an_export_that_does_not_take_files_is_refused(place, monkeypatch):
    (place / "floats").mkdir(exist_ok=True)
    row = '{"format": "onnx", "precision": "float32", "path": "x"}'
    (place / "floats" / "card.json").write_text(f'{{"fingerprint": "f", "files": [{row}]}}')
    with pytest.raises(ValueError, match="values from 0 to 255"):
        Embedder(place / "floats")


def test_a_jpeg_that_is_turned_stands_upright(place, model):
    image = Image.fromarray(np.random.default_rng(2).integers(0, 256, (*SIZE, 3), np.uint8))
    turned, written = image.transpose(Image.Transpose.ROTATE_90), io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6
    turned.save(written, "PNG", exif=exif)
    found = Embedder(place / "model.keras")({"bytes": [written.getvalue()]})
    expected = model.predict(np.asarray(image, np.float32)[None], verbose=0)
    np.testing.assert_allclose(found["embedding"], expected, rtol=1e-4, atol=0.1)
