"""Exports loaded where Keras is not: in plain TensorFlow, and through TensorFlow's C API."""

import base64
import ctypes
import io
import json
import os
import platform
import re
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_epos import ArcFaceLoss, EmbeddingModel, MetricLearningModel, TripletLoss, export_savedmodel
from keras_epos.serving import _export as export

pytestmark = pytest.mark.backend("tensorflow", reason="only TensorFlow writes SavedModels")
HERE = Path(__file__).parent
SIZE = 16
RNG = np.random.default_rng(0)
VECTORS = np.random.default_rng(1).normal(size=(7, 6)).astype(np.float32)
IMAGES = RNG.uniform(0, 255, size=(7, SIZE, SIZE, 3)).astype(np.float32)


def backbone(channels=3, size=SIZE, dtype=None):
    return keras.Sequential(
        [
            keras.Input((size, size, channels)),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.layers.RandomFlip(),
            keras.layers.Conv2D(8, 3, strides=2, dtype=dtype),
            keras.layers.BatchNormalization(dtype=dtype),
            keras.layers.GlobalAveragePooling2D(dtype=dtype),
            keras.layers.Dense(4, dtype=dtype),
        ]
    )


@keras.saving.register_keras_serializable(package="test_export")
class Subclassed(keras.Model):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.layer = keras.layers.Conv2D(4, 3)

    def call(self, x, training=False):
        return keras.ops.mean(self.layer(x), axis=(1, 2))


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    model = EmbeddingModel(backbone(), embedding_dim=6)

    model.compile("adam", loss=TripletLoss())
    model.fit(IMAGES, np.array([0, 0, 0, 1, 1, 2, 2]), epochs=1, batch_size=7, verbose=0)
    return model


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    return export_savedmodel(trained, tmp_path_factory.mktemp("models") / "birds")


def load(path):
    import tensorflow as tf

    return tf.saved_model.load(str(path)).signatures


def encode(image, form, mode="RGB"):
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).convert(mode).save(out, form)
    return out.getvalue()


@pytest.fixture(scope="module")
def files():
    rng = np.random.default_rng(1)
    sizes = [(20, 31, "PNG"), (40, 18, "JPEG"), (16, 16, "PNG"), (9, 50, "JPEG")]
    return [encode(rng.integers(0, 256, (height, width, 3), np.uint8), form) for height, width, form in sizes]


def run_without_keras(path, signature, feed, value, folder):
    np.save(folder / "in.npy", value)
    command = [sys.executable, HERE / "no_keras.py", path, signature, f"{feed}={folder / 'in.npy'}", folder / "out.npy"]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    assert result.returncode == 0, result.stderr[-2000:]
    return np.load(folder / "out.npy")


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_signatures_give_what_the_model_gives(trained, exported, batch):
    expected = trained.predict(IMAGES[:batch], verbose=0)
    signatures = load(exported)
    assert set(signatures) == {"embed", "embed_bytes", "serving_default"}
    for name in ("embed", "serving_default"):
        found = signatures[name](image=IMAGES[:batch])
        assert list(found) == ["embedding"]
        np.testing.assert_allclose(found["embedding"], expected, rtol=0, atol=1e-6)


def test_loads_without_keras(trained, exported, tmp_path):
    found = run_without_keras(exported, "embed", "image", IMAGES, tmp_path)
    np.testing.assert_allclose(found, trained.predict(IMAGES, verbose=0), rtol=0, atol=1e-6)


def test_bytes_without_keras_equal_the_evaluation_pipeline(trained, exported, files, tmp_path):
    from keras_epos.data._images import decode_and_resize

    images = np.stack([decode_and_resize(contents, SIZE) for contents in files])
    found = run_without_keras(exported, "embed_bytes", "image_bytes", np.array(files, object), tmp_path)
    np.testing.assert_allclose(found, trained.predict(images, verbose=0), rtol=0, atol=1e-6)


def test_one_bad_image_does_not_fail_its_request(trained, exported, files):
    import tensorflow as tf

    embed_bytes = load(exported)["embed_bytes"]
    good = embed_bytes(image_bytes=tf.constant(files))
    assert good["valid"].numpy().all()
    cut, path, huge = files[0][:300], b"/photos/one.jpg", bytearray(files[0])
    huge[16:24] = b"\0\1\0\0" * 2
    found = embed_bytes(image_bytes=tf.constant([cut, files[0], path, b"", files[1], bytes(huge)]))
    assert found["valid"].numpy().tolist() == [False, True, False, False, True, False]
    np.testing.assert_allclose(found["embedding"].numpy()[[1, 4]], good["embedding"][:2], rtol=0, atol=1e-6)
    assert np.isnan(found["embedding"].numpy()[[0, 2, 3, 5]]).all()
    assert not embed_bytes(image_bytes=tf.constant([cut]))["valid"].numpy().any()
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        embed_bytes(image_bytes=tf.constant(files[0]))


class MallocInfo(ctypes.Structure):
    _fields_ = [(f"field_{number}", ctypes.c_size_t) for number in range(10)]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks glibc")
def test_bad_images_leave_nothing_behind(exported, files):
    """Each one left a kilobyte, for ever, when an op failed in a function of its own."""
    import tensorflow as tf

    embed_bytes, memory = load(exported)["embed_bytes"], ctypes.CDLL("libc.so.6").mallinfo2
    memory.restype = MallocInfo
    bad = tf.constant([RNG.bytes(300), files[0][:300], b"BM" + RNG.bytes(300), b"GIF89a" + RNG.bytes(300)] * 4)

    def in_use(calls):
        for _ in range(calls):
            embed_bytes(image_bytes=bad)
        found = memory()
        return found.field_7 + found.field_4

    before = in_use(100)
    assert in_use(200) - before < 200 * 16 * 100


def test_leftovers_of_killed_exports_go_and_live_ones_stay(tmp_path):
    for name, age in ((".1-0123abcd", 2), (".2-0123abcd", 0), (".mine-0123abcd", 2), (".git", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").touch()
        for path in (tmp_path / name / "part", tmp_path / name):
            os.utime(path, (path.stat().st_mtime - age * export.STALE_SECONDS,) * 2)
    export.remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".2-0123abcd", ".git", ".mine-0123abcd"]


def test_a_full_disk_names_the_folder_and_leaves_nothing(tmp_path, monkeypatch):
    def write(model, path, endpoints):
        path.mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "_write", write)
    with pytest.raises(OSError, match=r"nothing was kept.*birds.1'") as error:
        export_savedmodel(backbone(), tmp_path / "birds")
    assert error.value.errno == 28
    assert list((tmp_path / "birds").iterdir()) == []


CHECK_C_API = """
import sys
import numpy as np
sys.modules["keras"] = sys.modules["keras_epos"] = None
import c_api
model = c_api.SavedModel(sys.argv[1])
assert model.signatures["embed"] and set(model.signatures) >= {"embed", "embed_bytes", "serving_default"}
assert set(model.signatures["embed"][0]) == {"image"} and set(model.signatures["embed"][1]) == {"embedding"}
np.save(sys.argv[3], model.run("embed", image=np.load(sys.argv[2]))["embedding"])
try:
    model.run("embed", image=np.zeros((1, 9, 9, 3)))
except RuntimeError as error:
    print("refused:", error)
assert "tensorflow" not in sys.modules
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the libraries have other names")
def test_loads_through_the_c_api(trained, exported, tmp_path):
    np.save(tmp_path / "in.npy", IMAGES)
    command = [sys.executable, "-c", CHECK_C_API, exported, tmp_path / "in.npy", tmp_path / "out.npy"]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(HERE)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "refused:" in result.stdout
    found = np.load(tmp_path / "out.npy")
    np.testing.assert_allclose(found, trained.predict(IMAGES, verbose=0), rtol=0, atol=1e-6)


def test_the_documented_way_to_load(exported, files, tmp_path, monkeypatch):
    guide = (HERE.parents[1] / "saved_models" / "README.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    (tmp_path / "saved_models").mkdir()
    (tmp_path / "saved_models" / "fashion_sample").symlink_to(exported.parent)
    (tmp_path / "shoe.jpg").write_bytes(files[1])
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(snippet, names)
    assert names["embedding"].shape == (1, 6)
    assert names["valid"].numpy().tolist() == [True]
    body, file = re.search(r"-d '(.*)'\$\(base64 -w0 (.*)\)'(.*)' ", guide).group(1, 2, 3), tmp_path / "shoe.jpg"
    assert body[1] == file.name
    request = json.loads(body[0] + base64.b64encode(file.read_bytes()).decode() + body[2])
    assert request["signature_name"] in names["served"]
    assert base64.b64decode(request["instances"][0]["b64"]) == files[1]


def test_images_of_another_size_are_refused(exported):
    import tensorflow as tf

    for shape in ((1, SIZE + 1, SIZE, 3), (1, SIZE, SIZE, 1)):
        with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
            load(exported)["embed"](image=tf.zeros(shape))


def test_holds_the_weights_once_and_no_optimizer(exported, trained):
    import tensorflow as tf

    saved = tf.train.list_variables(str(exported / "variables" / "variables"))
    shapes = [tuple(shape) for name, shape in saved if name.endswith("VARIABLE_VALUE")]
    # Each weight once: Adam would triple them, and a tracked model would double them.
    assert sorted(shapes) == sorted(tuple(weight.shape) for weight in trained.weights if weight.dtype == "float32")


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_models_answer_in_float32(policy, files, tmp_path):
    import tensorflow as tf

    model = backbone(dtype=policy)
    assert model(IMAGES[:2]).dtype != tf.float32
    path = export_savedmodel(model, tmp_path / "half")
    for name, argument in (("embed", {"image": IMAGES}), ("embed_bytes", {"image_bytes": tf.constant(files)})):
        found = load(path)[name](**argument)["embedding"]
        assert found.dtype == tf.float32
        assert np.isfinite(found).all()
    expected = model.predict(IMAGES, verbose=0).astype(np.float32)
    np.testing.assert_allclose(load(path)["embed"](image=IMAGES)["embedding"], expected, rtol=0.02, atol=0.02)


def test_gray_images(tmp_path):
    import tensorflow as tf

    model = backbone(channels=1)
    path = export_savedmodel(model, tmp_path / "gray")
    pixels = RNG.integers(0, 256, size=(SIZE, SIZE), dtype=np.uint8)
    found = load(path)["embed_bytes"](image_bytes=tf.constant([encode(pixels, "PNG", "L")]))["embedding"]
    expected = model.predict(pixels[None, :, :, None].astype(np.float32), verbose=0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_versions(tmp_path):
    model, folder = backbone(), tmp_path / "deep" / "birds"
    options = {"embed_bytes": False, "verify": False}
    assert export_savedmodel(model, folder, **options) == folder / "1"
    assert export_savedmodel(model, str(folder), version=7, **options) == folder / "7"
    assert export_savedmodel(model, folder, **options) == folder / "8"
    stamp = (folder / "7" / "saved_model.pb").stat().st_mtime_ns
    with pytest.raises(ValueError, match=r"`version` must not exist yet\. Received: version=7"):
        export_savedmodel(model, folder, version=7, **options)
    assert (folder / "7" / "saved_model.pb").stat().st_mtime_ns == stamp
    assert sorted(path.name for path in folder.iterdir()) == ["1", "7", "8"]
    assert set(load(folder / "1")) == {"embed", "serving_default"}


@pytest.mark.parametrize("version", [None, 1])
def test_a_version_that_appears_meanwhile_is_kept(version, tmp_path, monkeypatch):
    def write(model, path, endpoints):
        path.mkdir()
        (path / "own").touch()
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "other").touch()

    monkeypatch.setattr(export, "_write", write)
    if version is None:
        # Another process exports too: both are kept.
        assert export_savedmodel(backbone(), tmp_path, verify=False) == tmp_path / "2"
    else:
        with pytest.raises(ValueError, match="`version` must not exist yet"):
            export_savedmodel(backbone(), tmp_path, verify=False, version=version)
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert found == ["1", "1/other", *(["2", "2/own"] if version is None else [])]


def test_a_version_that_appears_at_the_last_moment(tmp_path, monkeypatch):
    free = iter([1, 1, 2])

    def write(model, path, endpoints):
        path.mkdir()
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "other").touch()

    monkeypatch.setattr(export, "_write", write)
    monkeypatch.setattr(export, "_free_version", lambda directory, version: next(free))
    assert export_savedmodel(backbone(), tmp_path, verify=False) == tmp_path / "2"
    assert (tmp_path / "1" / "other").exists()


def test_nothing_is_left_of_an_export_that_fails(tmp_path, monkeypatch):
    def fail(model, path, *arguments):
        assert (path / "saved_model.pb").exists()
        raise OSError("disk full")

    monkeypatch.setattr(export, "_verify", fail)
    with pytest.raises(OSError, match="disk full"):
        export_savedmodel(backbone(), tmp_path / "birds", embed_bytes=False)
    assert list((tmp_path / "birds").iterdir()) == []


def test_an_export_that_differs_is_refused(tmp_path):
    class Unsteady(Subclassed):
        calls = 0

        def call(self, x, training=False):
            self.calls += 1
            return super().call(x) * self.calls

    model = Unsteady()
    model(IMAGES)
    with pytest.raises(ValueError, match="same embeddings after export"):
        export_savedmodel(model, tmp_path, embed_bytes=False)


def test_subclassed_models(tmp_path):
    model = Subclassed()
    with pytest.raises(ValueError, match=r"`model` must be built.*model\(images\)"):
        export_savedmodel(model, tmp_path)
    expected = model(IMAGES)
    path = export_savedmodel(model, tmp_path)
    np.testing.assert_allclose(load(path)["embed"](image=IMAGES)["embedding"], expected, rtol=0, atol=1e-4)
    # The size of its first call does not bind a subclassed model.
    other = load(export_savedmodel(model, tmp_path, image_size=(9, 12)))["embed"]
    assert other.structured_input_signature[1]["image"].shape == (None, 9, 12, 3)


def test_models_of_any_size_need_to_be_told(tmp_path):
    model = backbone(size=None)
    with pytest.raises(ValueError, match="`image_size` must be given"):
        export_savedmodel(model, tmp_path)
    path = export_savedmodel(model, tmp_path, image_size=24, embed_bytes=False)
    assert load(path)["embed"].structured_input_signature[1]["image"].shape == (None, 24, 24, 3)


def test_errors_name_the_argument(tmp_path):
    (tmp_path / "file").touch()
    maps = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    for arguments, message in (
        ({"directory": tmp_path / "file"}, "`directory` must be a folder"),
        ({"directory": tmp_path / "m.keras"}, "`directory` must be the folder of the model's versions"),
        ({"model": "birds", "directory": backbone()}, "It comes first"),
        ({"version": -1}, "`version` must be an integer of at least 0"),
        ({"version": "new"}, "`version` must be an integer of at least 0"),
        ({"image_size": 32}, "`image_size` must be the"),
        ({"image_size": (0, 3)}, "`image_size` must be a side"),
        ({"model": "birds"}, "`model` must be a keras.Model"),
        ({"model": maps}, "`model` must return one embedding"),
        ({"model": backbone(channels=5)}, "`embed_bytes` must be False"),
    ):
        with pytest.raises(ValueError, match=message):
            export_savedmodel(**{"model": backbone(), "directory": tmp_path / "new"} | arguments)
    assert not [path for path in tmp_path.rglob("*") if path.name not in ("file", "new")]


def test_models_on_anything_but_images(tmp_path):
    import tensorflow as tf

    layers = keras.layers
    table = keras.Sequential([keras.Input((4,), name="row"), layers.Dense(3)])
    tokens = keras.Sequential([keras.Input((5,), dtype="int32", name="ids"), layers.Embedding(9, 4), layers.Flatten()])
    parts = {"size": keras.Input((2,), name="size"), "color": keras.Input((3,), name="color")}
    two = keras.Model(parts, layers.Dense(4)(layers.Concatenate()([parts["color"], parts["size"]])))
    words = layers.StringLookup(vocabulary=["one", "two"])
    text = keras.Input((1,), dtype="string", name="text")
    strings = keras.Model(text, layers.Flatten()(layers.Embedding(4, 3)(words(text))))
    code = keras.Input((1,), dtype="int64", name="code")
    numbers = layers.IntegerLookup(vocabulary=[10, 20])
    codes = keras.Model(code, layers.Flatten()(layers.Embedding(4, 3)(numbers(code))))
    pair = [keras.Input((2,), name=name) for name in ("left", "right")]
    nested = keras.Model({"pair": pair}, layers.Dense(3)(layers.Subtract()(pair)))
    film = keras.Input((3, 4, 4, 1), name="film")
    films = keras.Model(film, layers.Dense(3)(layers.GlobalAveragePooling3D()(film)))
    rng = np.random.default_rng(0)
    for name, model, rows in (
        ("table", table, {"row": rng.random((2, 4), np.float32)}),
        ("tokens", EmbeddingModel(tokens, 6), {"ids": rng.integers(0, 9, (2, 5)).astype("int32")}),
        ("two", two, {"size": rng.random((2, 2), np.float32), "color": rng.random((2, 3), np.float32)}),
        ("strings", strings, {"text": np.array([["two"], ["three"]])}),
        ("codes", codes, {"code": np.array([[20], [30]])}),
        ("nested", nested, {"left": rng.random((2, 2), np.float32), "right": rng.random((2, 2), np.float32)}),
        ("films", films, {"film": rng.random((2, 3, 4, 4, 1), np.float32)}),
    ):
        given = {key: tf.constant(part) for key, part in rows.items()}
        structures = {"two": given, "nested": {"pair": list(given.values())}}
        expected = model(structures.get(name, next(iter(given.values()))))
        path = export_savedmodel(model, tmp_path / name)
        saved = tf.train.list_variables(str(path / "variables" / "variables"))
        assert sum(key.endswith("VARIABLE_VALUE") for key, _ in saved) == len(model.weights), name
        signature = load(path)
        assert set(signature) == {"embed", "serving_default"}
        declared = signature["embed"].structured_input_signature[1]
        assert {key: spec.dtype for key, spec in declared.items()} == {key: part.dtype for key, part in given.items()}
        np.testing.assert_allclose(signature["embed"](**given)["embedding"], expected, atol=1e-6)


def test_an_output_is_chosen(tmp_path):
    row = keras.Input((4,), name="row")
    dense = keras.layers.Dense
    model = keras.Model(row, {"feature": dense(3, name="feature")(row), "classes": dense(5, name="classes")(row)})
    with pytest.raises(ValueError, match=r"'feature', 'classes'\. Received: output='featur'\. Did you mean 'feature'"):
        export_savedmodel(model, tmp_path, output="featur")
    with pytest.raises(ValueError, match="Choose one of several outputs by `output`"):
        export_savedmodel(model, tmp_path)
    found = load(export_savedmodel(model, tmp_path, output="feature"))["embed"](row=np.ones((2, 4), np.float32))
    np.testing.assert_allclose(found["embedding"], model(np.ones((2, 4)))["feature"], atol=1e-6)


def small_inputs(path, expected):
    """Shapes of the variables of an export on vectors of six, whose answers must be `expected`."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    (answer,) = loaded.signatures["serving_default"](tf.constant(VECTORS)).values()
    np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-6)
    return [tuple(shape) for _, shape in tf.train.list_variables(str(Path(path) / "variables" / "variables"))]


@pytest.mark.filterwarnings("ignore:.*was never trained")
def test_frozen_and_adapted_models_and_one_of_two_heads_are_exported(tmp_path):
    inputs = keras.Input((6,))
    model = EmbeddingModel(keras.Model(inputs, keras.layers.Dense(5)(inputs)), 4)
    model.backbone.trainable = False
    model.embedding.enable_lora(2)
    model.embedding.lora_kernel_b.assign(np.ones((2, 4)))
    model.compile("sgd", loss=ArcFaceLoss(3))
    small_inputs(export_savedmodel(model, tmp_path / "adapted"), model(VECTORS))

    features = keras.layers.Dense(5)(inputs)
    neck = keras.layers.BatchNormalization(name="neck")(keras.layers.Dense(3)(features))
    model = MetricLearningModel(inputs, {"features": features, "neck": neck})
    model.compile("sgd", loss={"features": "triplet", "neck": ArcFaceLoss(17)})
    assert (17, 3) in [tuple(weight.shape) for weight in model.weights]
    shapes = small_inputs(export_savedmodel(model, tmp_path / "neck", output="neck"), model(VECTORS)["neck"])
    assert (5, 3) in shapes
    assert (17, 3) not in shapes


def test_untrained_and_constant_models_are_warned_of(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export_savedmodel(model, tmp_path)
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="is compiled and was never trained"):
        export_savedmodel(model, tmp_path, verify=False)
    model.optimizer.iterations.assign(1)
    model.layers[-1].kernel.assign(np.zeros((4, 2)))
    with pytest.warns(UserWarning, match="two different inputs one embedding"):
        export_savedmodel(model, tmp_path)
