"""The commands that answer: a gallery is made, gets a threshold, and is searched."""

import json
import struct
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
from command_line import SIZE, run

import keras_epos
from keras_epos.cli import _search
from keras_epos.data import image_batches

pytestmark = pytest.mark.filterwarnings("ignore:Only . classes play:UserWarning")


def test_index_adds_what_is_new(gallery, folder, model, tmp_path):
    opened = keras_epos.Gallery.load(gallery)
    assert sorted(set(opened.labels)) == [f"class {place}" for place in range(6)]
    paths = sorted(opened.ids.tolist())
    assert paths == sorted(map(str, folder.glob("*/*.png")))
    assert "damaged.jpg" in (tmp_path / "things.unreadable.txt").read_text()
    # Only the damaged one is left, and it is no error that it cannot be read again.
    assert "0 images added, 60 in all" in run("index", model, folder, "-o", gallery).output
    keras.utils.save_img(tmp_path / "new.png", np.zeros((9, 9, 3), np.uint8), scale=False)
    assert "1 images added, 61 in all" in run("index", model, tmp_path, "-o", gallery).output
    assert "all images are in it already" in run("index", model, tmp_path, "-o", gallery).output
    assert keras_epos.Gallery.load(gallery).labels[-1] == "new"
    assert not list(tmp_path.glob("*.unfinished"))


def test_search_finds_and_answers_only_with_a_threshold(gallery, folder, model, tmp_path):
    query = folder / "class 2" / "3.png"
    [result] = [json.loads(line) for line in run("search", model, gallery, query, "--json").stdout.splitlines()[-1:]]
    assert "answer" not in result
    assert result["found"][0] == {"id": str(query), "label": "class 2", "similarity": 1.0}
    paths = keras_epos.Gallery.load(gallery).ids.tolist()
    embeddings = keras.saving.load_model(model).predict(image_batches([*paths, str(query)], SIZE), verbose=0)
    similarity, rows = keras_epos.retrieval.nearest(embeddings[-1:], embeddings[:-1], k=5)
    assert [one["id"] for one in result["found"]] == [paths[row] for row in rows[0]]
    np.testing.assert_allclose([one["similarity"] for one in result["found"]], similarity[0], atol=2e-6)

    options = ("--false-accept-rate", 0.2, "--gallery", gallery, "-o", tmp_path / "threshold.json")
    printed = run("calibrate", model, folder, *options, "--plot", tmp_path / "threshold.png").output
    assert "for a false-accept rate of 20 %" in printed
    threshold = keras_epos.Threshold.from_config(json.loads((tmp_path / "threshold.json").read_text()))
    assert str(threshold).splitlines()[0] in printed
    names = [Path(path).parent.name for path in paths]
    expected = keras_epos.calibrate(embeddings[:-1], names, false_accept_rate=0.2)
    assert threshold.value == pytest.approx(expected.value, abs=1e-6)
    assert threshold.false_reject_rate == pytest.approx(expected.false_reject_rate)
    assert threshold.misidentified == pytest.approx(expected.misidentified)
    assert (tmp_path / "threshold.png").stat().st_size > 10_000
    page = tmp_path / "page.html"
    printed = run("search", model, gallery, query, "-k", 2, "--html", page).stdout.splitlines()
    assert printed[-3] == f"{query}: class 2"
    assert printed[-2] == f"  1.000  class 2  {query}"
    text = page.read_text()
    assert text.count('<img src="data:image/jpeg;base64,') == 3
    assert "http" not in text.replace("http-equiv", "")


def png_of(width, height):
    """A picture of so many pixels, in a hundred bytes."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("contents", [png_of(30_000, 30_000), png_of(9000, 9000), png_of(4, 4), b"no image", None])
def test_a_page_stands_what_cannot_be_shown(contents, tmp_path):
    if contents is not None:
        (tmp_path / "one.png").write_bytes(contents)
    found = [{"id": str(tmp_path / "one.png"), "label": "<b>", "similarity": 0.5}]
    text = _search.page_of([{"query": str(tmp_path / "one.png"), "found": found}])
    assert text.count(_search.NOTHING) == 2
    assert "&lt;b&gt; 0.500" in text


def test_search_refuses_the_gallery_of_another_model(gallery, folder, tmp_path):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((SIZE, SIZE, 3))
    other = keras_epos.EmbeddingModel(keras.Model(inputs, keras.layers.Flatten()(inputs)), 8)
    other.save(tmp_path / "other.keras")
    done = run("search", tmp_path / "other.keras", gallery, folder / "class 1" / "1.png", code=1)
    assert "Similarities of embeddings of two models mean nothing" in done.output


def test_too_few_images_for_a_rate_are_refused_with_the_number(folder, model):
    assert "pass 10000 unknown queries" in run("calibrate", model, folder, "--false-accept-rate", 0.001, code=1).output
    assert run("calibrate", model, folder, code=1).output.count("false_accept_rate")


@pytest.mark.backend("tensorflow", reason="SavedModels are written by TensorFlow")
def test_export_writes_and_says_what_it_found(folder, model, tmp_path):
    options = ("--format", "savedmodel", "--photographs", folder / "class 1")
    printed = run("export", model, "-o", tmp_path / "exported", *options).output
    assert "savedmodel" in printed
    assert (tmp_path / "exported" / "README.md").exists()


@pytest.mark.backend("tensorflow", reason="SavedModels are written by TensorFlow")
def test_an_export_with_a_gallery_answers_as_search_does(gallery, folder, model, tmp_path):
    import tensorflow as tf

    options = ("--format", "savedmodel", "--gallery", gallery)
    run("calibrate", model, folder, "--false-accept-rate", 0.3, "--gallery", gallery)
    assert "savedmodel" in run("export", model, "-o", tmp_path / "exported", *options).output
    served = tf.saved_model.load(str(tmp_path / "exported" / "savedmodel" / "embed" / "1"))
    query = folder / "class 2" / "0.png"
    found = served.signatures["search_bytes"](image_bytes=tf.constant([query.read_bytes()]), k=tf.constant(3))
    answer = served.signatures["match_bytes"](image_bytes=tf.constant([query.read_bytes()]))
    expected = json.loads(run("search", model, gallery, query, "-k", 3, "--json").stdout)
    assert [one.decode() for one in found["ids"][0].numpy()] == [one["id"] for one in expected["found"]]
    assert answer["label"][0].numpy().decode() == expected["answer"]
    message = run("export", model, "-o", tmp_path / "other", "--format", "onnx", "--gallery", gallery, code=1).output
    assert """`formats` must have "savedmodel" for a `gallery`""" in message
