"""The command line, as a user has it: what it prints, writes, refuses and ends with."""

import json
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import keras_epos
from keras_epos.cli import _embedding
from keras_epos.cli._main import commands
from keras_epos.data import image_batches

SIZE = 16


def run(*arguments, code=0):
    done = CliRunner().invoke(commands, [str(part) for part in arguments])
    assert done.exit_code == code, done.output
    assert code == 0 or "Traceback" not in done.output
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six classes of ten images, each of a color of its own, and one that is damaged."""
    root = tmp_path_factory.mktemp("photographs")
    generator = np.random.default_rng(0)
    for place in range(6):
        (root / f"class {place}").mkdir()
        color = generator.integers(60, 200, 3)
        for number in range(10):
            image = color + generator.integers(-50, 50, (20, 24, 3))
            keras.utils.save_img(root / f"class {place}" / f"{number}.png", image, scale=False)
    (root / "class 3" / "damaged.jpg").write_text("no image")
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The file of a model that knows its image size."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.AveragePooling2D(4), keras.layers.Flatten()]
    made = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((SIZE, SIZE, 3)), *layers]), 8)
    path = tmp_path_factory.mktemp("model") / "model.keras"
    made.save(path)
    return path


def test_help_and_version():
    printed = run("--help").output
    assert all(f"\n  {name} " in printed for name in commands.commands)
    assert keras_epos.__version__ in run("--version").output
    assert "Usage" in run("no-such-command", code=2).output
    for name in commands.commands:
        assert "Usage" in run(name, "--help").output


def test_doctor_finds_that_losses_gradients_and_search_are_right(monkeypatch):
    printed = run("doctor").output
    assert f"keras                 {keras.__version__}" in printed
    assert keras.backend.backend() in printed
    assert [line.split() for line in printed.splitlines()[-3:]] == [
        ["loss", "right"],
        ["gradient", "right"],
        ["search", "right"],
    ]
    monkeypatch.setattr("keras_epos.cli._doctor.reference.triplet", wrong(keras_epos.reference.triplet))
    done = run("doctor", code=1)
    assert "loss                  WRONG: off by " in done.output
    assert "What this machine computes is wrong." in done.output


def wrong(function):
    def changed(labels, rows, *arguments, **options):
        return function(labels, 1.01 * rows + 0.01, *arguments, **options)

    return changed


def test_embed_writes_the_embeddings_of_what_can_be_read(folder, model, tmp_path):
    output = tmp_path / "vectors.npy"
    done = run("embed", model, folder, "-o", output)
    assert "60 embeddings of 8 dimensions" in done.output
    paths = (tmp_path / "vectors.paths.txt").read_text().splitlines()
    assert len(paths) == 60
    expected = keras.saving.load_model(model).predict(image_batches(paths, SIZE), verbose=0)
    np.testing.assert_allclose(np.load(output), expected, atol=1e-6)
    [line] = (tmp_path / "vectors.unreadable.txt").read_text().splitlines()
    assert line.startswith(f"{folder / 'class 3' / 'damaged.jpg'}\tValueError: An image must be")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "vectors.npy",
        "vectors.paths.txt",
        "vectors.unreadable.txt",
    ]
    assert "must be a file that is not there" in run("embed", model, folder, "-o", output, code=1).output


def test_embed_takes_a_list_of_paths_in_its_order(folder, model, tmp_path):
    paths = sorted(map(str, folder.glob("*/*.png")), reverse=True)[:7]
    (tmp_path / "list.txt").write_text("\n".join([*paths, ""]))
    run("embed", model, tmp_path / "list.txt", "-o", tmp_path / "few.npy")
    assert (tmp_path / "few.paths.txt").read_text().splitlines() == paths
    assert np.load(tmp_path / "few.npy").shape == (7, 8)


def test_embed_writes_parquet(folder, model, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="a .parquet file needs pyarrow")
    run("embed", model, folder, "-o", tmp_path / "rows.parquet")
    run("embed", model, folder, "-o", tmp_path / "rows.npy")
    rows = parquet.read_table(tmp_path / "rows.parquet").to_pydict()
    np.testing.assert_array_equal(rows["embedding"], np.load(tmp_path / "rows.npy"))
    assert rows["path"] == (tmp_path / "rows.paths.txt").read_text().splitlines()


PROGRAM = """
import sys
from keras_epos.cli import _embedding, main
_embedding.PART = 4
main()
"""


@pytest.mark.slow
def test_embed_goes_on_after_it_was_killed_and_ends_with_the_same(folder, model, tmp_path, monkeypatch):
    monkeypatch.setattr(_embedding, "PART", 4)
    run("embed", model, folder, "-o", tmp_path / "whole.npy")
    output, parts = tmp_path / "killed.npy", tmp_path / "killed.npy.unfinished"
    command = [sys.executable, "-c", PROGRAM, "embed", model, folder, "-o", output]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while len(list(parts.glob("0*.npz"))) < 3 and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert not output.exists()
    (parts / ".beside-half-written.npz").write_text("")
    done = list(parts.glob("0*.npz"))
    before = [path.stat().st_mtime_ns for path in done]
    monkeypatch.setattr(_embedding.Parts, "remove", lambda self: None)
    assert "Going on" in run("embed", model, folder, "-o", output).output
    assert [path.stat().st_mtime_ns for path in done] == before
    assert output.read_bytes() == (tmp_path / "whole.npy").read_bytes()
    for name in ("paths", "unreadable"):
        whole, killed = ((tmp_path / f"{run}.{name}.txt").read_text() for run in ("whole", "killed"))
        assert whole == killed


def test_embed_refuses_parts_of_another_job(folder, model, tmp_path, monkeypatch):
    monkeypatch.setattr(_embedding.Parts, "remove", lambda self: None)
    run("embed", model, folder / "class 1", "-o", tmp_path / "vectors.npy")
    done = run("embed", model, folder / "class 2", "-o", tmp_path / "vectors.npy", code=1)
    assert "holds parts of another job" in done.output


def test_evaluate_prints_the_measures_of_the_images_that_can_be_read(folder, model):
    found = json.loads(run("evaluate", model, folder, "-k", "1,3", "--json").stdout.splitlines()[-1])
    images = keras_epos.datasets.image_folder(folder, test_classes=0).train
    images = images.take(np.array(["damaged" not in path for path in images.inputs]))
    embeddings = keras.saving.load_model(model).predict(image_batches(images.inputs, SIZE), verbose=0)
    expected = keras_epos.retrieval.evaluate(embeddings, images.labels, k=(1, 3))
    assert found == pytest.approx(expected | {"images": 60, "unreadable": 1})
    table = run("evaluate", model, folder).output
    assert f"recall@1              {found['recall@1']:>9.2%}" in table


def test_mistakes_are_told_in_a_sentence(folder, model, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "no.keras").write_text("nothing")
    for words, arguments in {
        "--output must end in .npy or .parquet": ("embed", model, folder, "-o", tmp_path / "x.csv"),
        "SOURCE must hold images": ("embed", model, tmp_path / "empty", "-o", tmp_path / "x.npy"),
        "a text file with one path a line": ("embed", model, folder / "class 1" / "1.png", "-o", tmp_path / "x.npy"),
        "MODEL must be a .keras file": ("evaluate", tmp_path / "no.keras", folder),
        "No images in the sub-folders": ("evaluate", model, tmp_path / "empty"),
        "`k` must be at most": ("evaluate", model, folder, "-k", "99"),
        "--output must be a folder that is new, empty, or of a run": ("train", folder, "-o", folder),
    }.items():
        assert words in run(*arguments, code=1).output
    assert "commas between" in run("evaluate", model, folder, "-k", "one", code=2).output


def test_a_model_of_any_size_is_asked_for_its_size(folder, tmp_path):
    inputs = keras.Input((None, None, 3))
    outputs = keras.layers.GlobalAveragePooling2D()(inputs)
    keras_epos.EmbeddingModel(keras.Model(inputs, outputs), 4).save(tmp_path / "any.keras")
    assert "--image-size must be given" in run("evaluate", tmp_path / "any.keras", folder, code=1).output
    assert "recall@1" in run("evaluate", tmp_path / "any.keras", folder, "--image-size", 8).output
