"""One export for every engine: each file answers as the model does, or the report says in one sentence why not."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

import keras_epos
from keras_epos import EmbeddingModel, TripletLoss, export
from keras_epos.serving import _export, _formats
from keras_epos.serving._card import markdown
from keras_epos.serving._compare import differences, fault
from keras_epos.serving._triton import triton_config

pytestmark = pytest.mark.backend("tensorflow", reason="the engines are installed beside TensorFlow")
ROOT = Path(__file__).parents[2]
SIZE = (16, 12)
RNG = np.random.default_rng(0)
LABELS = np.arange(40) % 4
# Classes that can be told apart: each has its own color.
IMAGES = (RNG.uniform(0, 80, (40, *SIZE, 3)) + 45 * LABELS[:, None, None, None]).astype(np.float32)


def needs(*modules):
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


def network(channels=3, dtype=None, size=SIZE):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((*size, channels)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.RandomFlip(),
            layers.Conv2D(8, 3, strides=2, activation="relu", dtype=dtype),
            layers.DepthwiseConv2D(3, dtype=dtype),
            layers.BatchNormalization(dtype=dtype),
            layers.GlobalAveragePooling2D(dtype=dtype),
            layers.Dense(6, dtype=dtype),
        ]
    )


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = EmbeddingModel(network(), embedding_dim=5, name="birds")
    model.compile(keras.optimizers.Adam(0.01), loss=TripletLoss())
    model.fit(IMAGES, LABELS, epochs=8, batch_size=40, verbose=0)
    return model


@pytest.fixture(scope="module")
def expected(model):
    return model.predict(IMAGES, verbose=0)


def cosine(found, expected):
    return differences(found, expected)[0]


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    """An export to the engines that come with TensorFlow."""
    card = {
        "data": "birds | of the garden",
        "license_of_weights": "CC0",
        "figures": {"recall@1": (0.9, 0.85, 0.95), "map@r": 0.5},
    }
    place = tmp_path_factory.mktemp("exports") / "deep" / "birds"
    return export(model, place, ["savedmodel", "litert"], photographs=IMAGES, labels=LABELS, card=card)


def test_the_files_of_every_engine_answer_as_the_model(written, model):
    for row in (written["savedmodel"], written["litert"], written["litert", "float16"], written["litert", "int8"]):
        assert row.reason is None
        assert (written.directory / row.path).exists()
        assert row.megabytes > 0
        assert row.recall is not None
    assert written["savedmodel"].path == "savedmodel/embed/1"
    assert written["litert", "int8"].path == "litert/embed_int8/model.tflite"
    assert written["litert"].cosine < 1e-6
    assert written["litert"].recall == written["keras"].recall > 0.5
    assert 1e-9 < written["litert", "float16"].cosine < 1e-3
    assert written["litert", "int8"].cosine < 0.1
    assert written["savedmodel"].engine.startswith("tensorflow 2.")
    assert "it computes in the precision" in written["savedmodel", "int8"].reason
    assert sorted(path.name for path in written.directory.parent.iterdir()) == ["birds"]


def test_the_saved_model_has_its_signatures(written, expected):
    import tensorflow as tf

    signatures = tf.saved_model.load(str(written.directory / "savedmodel" / "embed" / "1")).signatures
    assert set(signatures) == {"embed", "embed_bytes", "serving_default"}
    np.testing.assert_allclose(signatures["embed"](image=IMAGES)["embedding"], expected, rtol=0, atol=1e-5)


def test_the_report_is_a_table(written):
    lines = str(written).splitlines()
    assert len(lines) == 1 + len(written.rows)
    assert lines[0].split()[:3] == ["format", "precision", "engine"]
    assert lines[0].index("file") == next(line for line in lines if "litert/embed/" in line).index("litert/embed/")
    assert "savedmodel  float16    not written: TensorFlow has no float16" in str(written)
    with pytest.raises(KeyError):
        written["onnx"]


def test_the_card_says_what_is_known_and_leaves_boxes_for_the_rest(written, model):
    facts = json.loads((written.directory / "card.json").read_text())
    assert facts["input"]["shape"] == [None, *SIZE, 3]
    assert facts["embedding"]["shape"] == [None, 5]
    assert facts["parameters"] == model.count_params()
    assert facts["fingerprint"] == keras_epos.Gallery(model).fingerprint
    assert facts["training"]["steps"] == 8
    assert facts["training"]["optimizer"]["learning_rate"] == 0.01
    assert facts["training"]["loss"]["class"] == "TripletLoss"
    assert facts["versions"]["keras"] == keras.__version__
    assert [row["path"] for row in facts["files"]] == [row.path for row in written.rows]
    text = (written.directory / "README.md").read_text()
    assert text == markdown(facts)
    assert text.startswith("# birds\n")
    assert "| figures | recall@1 0.9 (0.85 to 0.95), map@r 0.5 |" in text
    assert "| data | birds \\| of the garden |" in text
    assert "on 40 photographs." in text
    assert "- [ ] To be filled in: the license of the data." in text
    assert "filled in: the license of the weights" not in text
    width = {line.count("|") - line.count("\\|") for line in text.split("## Files")[1].splitlines() if line[:1] == "|"}
    assert width == {8}


def test_without_photographs_the_card_says_so_and_int8_is_left_out(model, tmp_path):
    report = export(model, tmp_path / "birds", "litert", half=False)
    assert "pass `photographs`" in str(report["litert", "int8"].reason)
    assert not (tmp_path / "birds" / "litert" / "embed_int8").exists()
    assert report["litert"].recall is None
    assert "on 8 random images, for no photographs were given." in (tmp_path / "birds" / "README.md").read_text()


def test_photographs_may_be_files_and_the_decoder_is_compared(model, tmp_path):
    paths = []
    for number, image in enumerate(IMAGES[:4]):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(image.astype(np.uint8)).resize((40, 30)).save(paths[-1])
    report = export(model, tmp_path / "birds", "savedmodel", photographs=paths, half=False, int8=False)
    assert 0 <= report["decoder"].cosine < 1e-6
    code = (
        "import sys; sys.modules['keras'] = sys.modules['keras_epos'] = None; import decode_image, numpy;"
        "image = decode_image.decode_image(open('0.png', 'rb').read()); numpy.save('out.npy', image)"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "birds")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path)
    image = np.asarray(keras_epos.data.decode_and_resize(paths[0].read_bytes(), SIZE))
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), image, rtol=0, atol=0.02)


@needs("onnx", "onnxruntime", "tf2onnx")
def test_onnx(model, expected, tmp_path):
    import onnxruntime

    report = export(model, tmp_path / "birds", "onnx", photographs=IMAGES, labels=LABELS, max_batch_size=16)
    assert report["onnx"].cosine < 1e-6
    assert 1e-9 < report["onnx", "float16"].cosine < 1e-3
    assert report["onnx", "int8"].cosine < 0.1
    assert report["onnx"].recall == report["keras"].recall
    folders = sorted(path.relative_to(tmp_path / "birds/onnx").as_posix() for path in report.directory.glob("onnx/*/*"))
    assert folders == [f"embed{end}/{part}" for end in ("", "_float16", "_int8") for part in ("1", "config.pbtxt")]
    assert [path.name for path in (report.directory / "onnx" / "embed_int8" / "1").iterdir()] == ["model.onnx"]
    config = (report.directory / "onnx" / "embed_int8" / "config.pbtxt").read_text().splitlines()
    assert config == [
        'name: "embed_int8"',
        'platform: "onnxruntime_onnx"',
        "max_batch_size: 16",
        'input { name: "image" data_type: TYPE_FP32 dims: [16, 12, 3] }',
        'output { name: "embedding" data_type: TYPE_FP32 dims: [5] }',
        "dynamic_batching { }",
    ]
    session = onnxruntime.InferenceSession(report.directory / report["onnx"].path)
    for rows in (1, 7):
        found = session.run(["embedding"], {"image": IMAGES[:rows]})[0]
        np.testing.assert_allclose(found, expected[:rows], rtol=0, atol=1e-5)


@needs("openvino")
def test_openvino(model, expected, tmp_path):
    import openvino

    report = export(model, tmp_path / "birds", "openvino", photographs=IMAGES)
    assert report["openvino"].cosine < 1e-6
    assert 1e-9 < report["openvino", "float16"].cosine < 1e-3
    if importlib.util.find_spec("nncf"):
        # NNCF finds this network hard.
        row = report["openvino", "int8"]
        assert (row.path is None) == (row.cosine > 0.1)
        assert row.cosine < 0.4
    else:
        assert "nncf is missing" in report["openvino", "int8"].reason
    assert sorted(path.name for path in report.directory.glob("openvino/embed/1/*")) == ["model.bin", "model.xml"]
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    run = openvino.compile_model(report.directory / report["openvino"].path, "CPU", exact)
    for rows in (1, 7):
        np.testing.assert_allclose(run({"image": IMAGES[:rows]})["embedding"], expected[:rows], rtol=0, atol=1e-5)


@needs("ai_edge_litert")
def test_litert_in_its_own_interpreter(model, expected, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    report = export(model, tmp_path / "birds", "litert", photographs=IMAGES, half=False, int8=False)
    assert report["litert"].engine.startswith("ai-edge-litert")
    run = Interpreter(str(report.directory / report["litert"].path)).get_signature_runner()
    for rows in (1, 7):
        np.testing.assert_allclose(run(image=IMAGES[:rows])["embedding"], expected[:rows], rtol=0, atol=1e-5)


@needs("onnx", "onnxruntime", "tf2onnx", "openvino", "ai_edge_litert")
def test_the_documented_lines_run(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "decode_image", raising=False)
    paths = [f"{number}.png" for number in range(8)]
    images = IMAGES[:8].astype(np.uint8)
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    programs = re.findall(r"```python\n(.+?)```", (ROOT / "docs" / "export.md").read_text(), flags=re.DOTALL)
    names = {"keras_epos": keras_epos, "model": model, "paths": paths, "labels": LABELS[:8]}
    assert len(programs) == 6
    expected = model.predict(images.astype(np.float32), verbose=0)
    for program in programs:
        names["embeddings"] = expected
        exec(program, names)
        np.testing.assert_allclose(names["embeddings"], expected, rtol=0, atol=1e-5)
    assert np.asarray(names["valid"]).all()


@needs("onnx", "onnxruntime", "tf2onnx")
def test_other_models(tmp_path):
    """Half precision, gray, of any size, subclassed, with several outputs, not from files."""

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.layer = keras.layers.Conv2D(4, 3)

        def call(self, x, training=False):
            return keras.ops.mean(self.layer(x), axis=(1, 2))

    subclassed = Subclassed()
    subclassed(IMAGES[:1])
    heads = network()
    heads = keras.Model(heads.inputs, {"vector": heads.outputs[0], "classes": keras.layers.Dense(3)(heads.outputs[0])})
    formats = ["onnx", "litert"]
    for name, (other, options) in {
        "bfloat16": (network(dtype="mixed_bfloat16"), {"formats": ["savedmodel"]}),
        "float16": (network(dtype="mixed_float16"), {"formats": ["onnx"]}),
        "gray": (network(1), {}),
        "any size": (network(size=(None, None)), {"image_size": (20, 24)}),
        "subclassed": (subclassed, {"embed_bytes": False, "photographs": IMAGES}),
        "heads": (heads, {"output": "vector"}),
        "many channels": (network(5), {"embed_bytes": False}),
    }.items():
        report = export(other, tmp_path / name, **{"formats": formats, "half": False, "int8": False, **options})
        for row in report.rows:
            assert row.reason is None, f"{name}: {row.reason}"
        assert (report.directory / "decode_image.py").exists() == options.get("embed_bytes", True)


def test_what_an_engine_cannot_do_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(_formats.ENGINES, "onnx", engine(lambda found, _: found))
    report = export(network(dtype="mixed_float16"), tmp_path / "half", ["onnx", "litert"], half=False)
    assert "\n" not in report["litert"].reason
    assert "TensorFlow op" in report["litert"].reason
    assert [path.name for path in tmp_path.glob("half/*/")] == ["onnx"]


@pytest.mark.parametrize(("name", "module"), [("onnx", "onnxruntime"), ("onnx", "tf2onnx"), ("openvino", "openvino")])
def test_a_missing_package_is_one_sentence(name, module, model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    report = export(model, tmp_path / "birds", ["savedmodel", name], half=False, int8=False)
    assert report[name].reason in (
        f'The package {part} is missing: pip install "keras-epos[{name}]".' for part in (module, "onnxruntime", "onnx")
    )
    assert report["savedmodel"].path
    assert not (tmp_path / "birds" / name).exists()
    with pytest.raises(ValueError, match=rf"`formats` must have one that can be written.*{name}: The package"):
        export(model, tmp_path / "other", name)
    assert [path.name for path in tmp_path.iterdir()] == ["birds"]


def engine(answer):
    """An engine whose embeddings are `answer(embeddings, precision)`."""

    def write(task, folder, precision="float32"):
        folder.mkdir(parents=True)
        (folder / precision).write_text("weights")
        engine.model = task.model
        return folder / precision

    def load(path):
        return lambda images: answer(engine.model.predict(images, verbose=0), path.name), "abacus 1"

    return SimpleNamespace(write=write, smaller=lambda task, source, *place: write(task, *place), load=load)


def test_files_that_answer_otherwise_are_not_kept(model, tmp_path, monkeypatch):
    def answer(embeddings, precision):
        largest = np.abs(embeddings).max()
        return embeddings + {"float32": 0, "float16": 0.06 * largest, "int8": 0}[precision]

    monkeypatch.setitem(_formats.ENGINES, "onnx", engine(answer))
    report = export(model, tmp_path / "birds", "onnx", photographs=IMAGES)
    assert [report["onnx", precision].path for precision in ("float32", "float16", "int8")] == [
        "onnx/embed/float32",
        None,
        "onnx/embed_int8/int8",
    ]
    assert "by 0.06 of the largest entry, where 0.05 is allowed" in report["onnx", "float16"].reason
    assert sorted(path.name for path in (tmp_path / "birds" / "onnx").iterdir()) == ["embed", "embed_int8"]
    monkeypatch.setitem(_formats.ENGINES, "litert", engine(lambda found, _: found))
    for number, wrong in enumerate(
        [lambda found, _: 1.002 * found, lambda found, _: np.nan * found, lambda found, _: found[:, :2]]
    ):
        monkeypatch.setitem(_formats.ENGINES, "onnx", engine(wrong))
        other = export(model, tmp_path / str(number), ["litert", "onnx"], photographs=IMAGES, labels=LABELS)
        assert other["onnx"].reason
        assert not (other.directory / "onnx").exists()
        json.loads((other.directory / "card.json").read_text(), parse_constant=pytest.fail)


def test_differences_and_what_is_too_large():
    found, entry = differences([[1.0, 0.0], [3.0, 4.0]], [[1.0, 0.0], [4.0, 3.0]])
    assert found == pytest.approx(1 - 24 / 25)
    assert entry == pytest.approx(1 / 4)
    assert differences([[1.0, 0.0]], [[2.0, 0.0]]) == (0.0, 0.5)
    assert fault(0.2, 1e-3, "float32", 1e-3) is None
    assert "0.0011 of the largest entry, where 0.001 is allowed" in str(fault(0.0, 1.1e-3, "float32", 1e-3))
    assert fault(0.1, 9.0, "int8", 1e-3) is None
    assert "0.11 in cosine, where 0.1 is allowed" in str(fault(0.11, 0.0, "int8", 1e-3))
    for precision in ("float32", "int8"):
        assert fault(np.nan, np.nan, precision, 1e-3)


def test_the_directory_appears_complete_or_not_at_all(model, tmp_path, monkeypatch):
    def fail(facts):
        raise KeyboardInterrupt

    monkeypatch.setattr(_formats.cards, "markdown", fail)
    monkeypatch.setitem(_formats.ENGINES, "onnx", engine(lambda found, _: found))
    with pytest.raises(KeyboardInterrupt):
        export(model, tmp_path / "birds", "onnx")
    assert list(tmp_path.iterdir()) == []

    def appears(facts):
        (tmp_path / "birds").mkdir()
        return "card"

    monkeypatch.setattr(_formats.cards, "markdown", appears)
    with pytest.raises(ValueError, match=r"`directory` must not exist yet\. Received: directory='.*birds'"):
        export(model, tmp_path / "birds", "onnx")
    assert [path.name for path in tmp_path.rglob("*")] == ["birds"]


def test_a_full_disk_is_no_fault_of_a_format(model, tmp_path, monkeypatch):
    def write(task, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(_formats.ENGINES, "onnx", SimpleNamespace(write=write))
    with pytest.raises(OSError, match="No space left"):
        export(model, tmp_path / "birds", ["savedmodel", "onnx"])
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_killed_exports_go(model, tmp_path, monkeypatch):
    monkeypatch.setitem(_formats.ENGINES, "onnx", engine(lambda found, _: found))
    for name, age in ((".birds-0123abcd", 2), (".birds-1123abcd", 0), (".owls-0123abcd", 2)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, ((tmp_path / name).stat().st_mtime - age * _export.STALE_SECONDS,) * 2)
    export(model, tmp_path / "birds", "onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".birds-1123abcd", ".owls-0123abcd", "birds"]


def test_the_configuration_for_triton():
    free = triton_config(
        "embed", [("image", "tensor(float)", ["unk__1", 8, 9, 3])], [("e", "tensor(float16)", ["n", 5])], 4
    )
    assert free.splitlines() == [
        'name: "embed"',
        'platform: "onnxruntime_onnx"',
        "max_batch_size: 4",
        'input { name: "image" data_type: TYPE_FP32 dims: [8, 9, 3] }',
        'output { name: "e" data_type: TYPE_FP16 dims: [5] }',
        "dynamic_batching { }",
    ]
    fixed = triton_config("embed", [("image", "tensor(float)", [1, 8, None, 3])], [("e", "tensor(float)", [1, 5])], 4)
    assert "max_batch_size: 0\n" in fixed
    assert "dims: [1, 8, -1, 3]" in fixed
    assert "dims: [1, 5]" in fixed
    assert "dynamic_batching" not in fixed


@needs("tritonclient", "grpc", "rapidjson")
def test_triton_can_read_its_configuration():
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    text = triton_config("embed", [("image", "tensor(float)", [None, 8, 9, 3])], [("e", "tensor(float)", [None, 5])], 4)
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert list(config.input[0].dims) == [8, 9, 3]


def test_what_does_not_fit_is_refused_before_anything_is_written(model, tmp_path):
    class Thing:
        pass

    (tmp_path / "there").mkdir()
    (tmp_path / "text.jpg").write_text("no image")
    for message, arguments in {
        r"`formats` must be one of .* Did you mean 'onnx'": {"formats": ["onx"]},
        r"`directory` must not exist yet": {"directory": tmp_path / "there"},
        r"`card` must be one of .* Did you mean 'license_of_data'": {"card": {"licence_of_data": "MIT"}},
        r"`card` must be a dictionary": {"card": "MIT"},
        r"`card` must hold texts": {"card": {"data": Thing()}},
        r"`photographs` must be paths or an array \(N, 16, 12, 3\)": {"photographs": IMAGES[:, :9]},
        r"`photographs` must be paths or an array\. Received: none": {"photographs": []},
        r"`photographs` must be an array with embed_bytes": {"photographs": ["a.jpg"], "embed_bytes": False},
        r"`photographs` must be readable images.*text\.jpg": {"photographs": [tmp_path / "text.jpg"]},
        r"`labels` must be one for each photograph": {"photographs": IMAGES, "labels": LABELS[:3]},
        r"Received: 3 labels, 0 photographs": {"labels": LABELS[:3]},
        r"`max_batch_size` must be an integer": {"max_batch_size": 0},
        r"`output` must be one of": {"output": "vector"},
    }.items():
        with pytest.raises(ValueError, match=message):
            export(model, **{"directory": tmp_path / "birds", **arguments})
    maps = keras.Sequential([keras.Input((*SIZE, 3)), keras.layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match=r"`image_size` must be the \(16, 12\)"):
        export(network(), tmp_path / "birds", image_size=20)
    with pytest.raises(ValueError, match="`model` must return one embedding"):
        export(maps, tmp_path / "birds")
    with pytest.raises(ValueError, match=r"`model` must be a keras\.Model"):
        export(tmp_path / "birds", model)
    with pytest.raises(ValueError, match="`model` must take images"):
        export(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), tmp_path / "birds")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.jpg", "there"]
