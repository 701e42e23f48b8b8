"""The command line, as a user has it: what it prints, writes, refuses and ends with."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from command_line import SIZE, run

import keras_epos
from keras_epos.cli import _embedding
from keras_epos.cli._main import commands
from keras_epos.data import image_batches


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


class Killed(BaseException):
    """Nothing cleans up after it but `finally`."""


def test_embed_goes_on_after_it_died_with_what_was_done(folder, model, tmp_path, monkeypatch):
    monkeypatch.setattr(_embedding, "PART", 16)
    run("embed", model, folder, "-o", tmp_path / "whole.npy")
    output, parts = tmp_path / "killed.npy", tmp_path / "killed.npy.unfinished"
    embed_part, left = _embedding._embed_part, iter(range(2))

    def dying(*arguments):
        if next(left, None) is None:
            raise Killed
        return embed_part(*arguments)

    monkeypatch.setattr(_embedding, "_embed_part", dying)
    with pytest.raises(Killed):
        run("embed", model, folder, "-o", output)
    assert not output.exists()
    (parts / ".beside-half-written.npz").write_text("")
    done = []
    monkeypatch.setattr(_embedding, "_embed_part", lambda *arguments: done.append(1) or embed_part(*arguments))
    assert "Going on" in run("embed", model, folder, "-o", output).output
    assert len(done) == 2
    assert output.read_bytes() == (tmp_path / "whole.npy").read_bytes()
    for name in ("paths", "unreadable"):
        whole, killed = ((tmp_path / f"{which}.{name}.txt").read_text() for which in ("whole", "killed"))
        assert whole == killed
    assert not parts.exists()


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


def test_pack_copies_what_can_be_read_into_shards(folder, tmp_path):
    pytest.importorskip("google_crc32c")
    output = tmp_path / "shards"
    for _ in range(2):  # given again, a finished one stays as it is
        done = run("pack", folder, "-o", output, "--format", "tfrecord", "--records", 25)
        assert f"{output}: 60 photographs of 6 classes" in done.output
    train, test = keras_epos.datasets.shard_folder(output)
    expected = keras_epos.datasets.image_folder(folder)
    for split, files in zip((train, test), expected, strict=True):
        paths = [path for path in files.inputs if "damaged" not in path]
        assert split.inputs.paths == paths
        assert list(split.inputs) == [Path(path).read_bytes() for path in paths]
    [line] = (tmp_path / "shards.unreadable.txt").read_text().splitlines()
    assert line.startswith(f"{folder / 'class 3' / 'damaged.jpg'}\tValueError: ")
    done = run("pack", folder, "-o", output, "--format", "tfrecord", "--records", 20, code=1)
    assert "must be a folder to make" in done.output
