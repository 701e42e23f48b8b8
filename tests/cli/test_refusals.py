"""What goes wrong is told in a sentence and by the exit code that docs/command_line.md names, by every command."""

import keras
import pytest
from command_line import SIZE, run

import keras_epos
from keras_epos.cli._main import commands

# What stands for the places of a command in its arguments.
COMMANDS = {
    "train": "train FOLDER -o NEW --backbone MODEL --image-size 16 --hold-out 0.5",
    "evaluate": "evaluate MODEL FOLDER",
    "calibrate": "calibrate MODEL FOLDER --false-accept-rate 0.2 --gallery GALLERY",
    "index": "index MODEL FOLDER -o GALLERY",
    "search": "search MODEL GALLERY FOLDER",
    "browse": "browse GALLERY --model MODEL",
    "embed": "embed MODEL FOLDER -o NEW.npy",
    "export": "export MODEL -o NEW --photographs FOLDER --format savedmodel --gallery GALLERY",
    "pack": "pack FOLDER -o NEW --format tfrecord",
    "doctor": "doctor",
}


@pytest.fixture(scope="session")
def places(folder, model, kept_gallery, tmp_path_factory):
    """What is right, and what is not."""
    root = tmp_path_factory.mktemp("places")
    (root / "empty").mkdir()
    (root / "text").mkdir()
    (root / "text" / "class").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (root / "text" / "class" / name).write_text("no image")
    (root / "text.keras").write_text("no model")
    keras.utils.set_random_seed(1)
    inputs = keras.Input((SIZE, SIZE, 3))
    other = keras_epos.EmbeddingModel(keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs)), 8)
    other.save(root / "other.keras")
    right = {"FOLDER": folder, "MODEL": model, "GALLERY": kept_gallery}
    wrong = {one: root / one for one in ("missing", "empty", "text", "text.keras", "other.keras")}
    return {**right, **wrong}


def refused(name, places, tmp_path, code, changed=None, more=()):
    """What a command says that is called with other places."""
    if name == "browse":
        pytest.importorskip("flask", reason="browse needs Flask")
    if name == "pack":
        pytest.importorskip("google_crc32c", reason="TFRecords need google-crc32c")
    places = places | {"NEW": tmp_path / "new", "NEW.npy": tmp_path / "new.npy"}
    places |= {one: places.get(other, other) for one, other in (changed or {}).items()}
    done = run(*(places.get(word, word) for word in COMMANDS[name].split()), *more, code=code)
    lines = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    assert len(lines) == (code in (1, 2)), done.output
    assert list(tmp_path.iterdir()) == []
    return done.output


def taking(place):
    return [name for name, words in COMMANDS.items() if place in words.split()]


def test_every_command_is_looked_at():
    assert set(COMMANDS) == set(commands.commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option(name, places, tmp_path):
    assert "No such option" in refused(name, places, tmp_path, 2, more=["--no-such-option"])


@pytest.mark.parametrize(("name", "place"), [(name, place) for place in ("FOLDER", "MODEL") for name in taking(place)])
def test_a_file_that_is_missing(name, place, places, tmp_path):
    is_name = (name, place) == ("train", "MODEL")  # perhaps one of keras.applications
    printed = refused(name, places, tmp_path, 1 if is_name else 2, {place: "missing"})
    assert "missing" in printed
    assert is_name or "does not exist" in printed


@pytest.mark.parametrize("name", taking("MODEL"))
def test_a_file_that_is_no_model(name, places, tmp_path):
    printed = refused(name, places, tmp_path, 1, {"MODEL": "text.keras"})
    assert "must be" in printed
    assert "text.keras" in printed


@pytest.mark.parametrize("name", taking("GALLERY"))
def test_a_gallery_of_another_model(name, places, tmp_path):
    printed = refused(name, places, tmp_path, 1, {"MODEL": "other.keras"})
    assert "Similarities of embeddings of two models mean nothing" in printed


@pytest.mark.parametrize("name", taking("GALLERY"))
def test_a_folder_that_is_no_gallery(name, places, tmp_path):
    assert "gallery" in refused(name, places, tmp_path, 1, {"GALLERY": "empty"})


@pytest.mark.parametrize("name", taking("FOLDER"))
def test_a_folder_without_images(name, places, tmp_path):
    assert "mages" in refused(name, places, tmp_path, 1, {"FOLDER": "empty"})


@pytest.mark.parametrize("name", ["evaluate", "calibrate", "search"])
def test_files_that_are_no_images(name, places, tmp_path):
    assert "The images must be readable." in refused(name, places, tmp_path, 1, {"FOLDER": "text"})


def test_a_place_where_nothing_may_be_written(places, tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    assert "new" in (printed := refused("embed", places, tmp_path, 1))
    assert "Permission denied." in printed


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c(name, places, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras.saving.load_model", stop)
    monkeypatch.setattr("keras_epos.cli._train.Run", stop)
    monkeypatch.setattr("keras_epos.cli._pack.write_each", stop)
    monkeypatch.setattr("keras_epos.cli._doctor.line", stop)
    assert "Stopped. What was written before is whole." in refused(name, places, tmp_path, 130)
