"""The README's programs run on real pictures, as a reader would run them, and learn."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_epos

README = Path(__file__).parents[1] / "README.md"
PROGRAMS = re.findall(r"```python\n(.+?)```", README.read_text(), flags=re.DOTALL)


@pytest.fixture
def compiled_as_for_a_reader(monkeypatch):
    if "_resolve_auto_jit_compile" in vars(keras.Model):  # see conftest.py
        monkeypatch.delattr(keras.Model, "_resolve_auto_jit_compile")


def run(program, **names):
    keras.utils.set_random_seed(0)
    exec(program, names)
    return names


def write_photos(folder, images, labels, of_each):
    for label in np.unique(labels):
        (folder / str(label)).mkdir(parents=True)
        for row in np.flatnonzero(labels == label)[:of_each]:
            keras.utils.save_img(folder / str(label) / f"{row}.png", images[row][..., None])


def check_that_it_learned(names, chance, capsys):
    recall = names["recall"]
    before, after = recall.baseline["start"]["recall@1"], recall.history[-1]["recall@1"]
    assert after > 2 * chance
    assert after > before + 0.05
    assert f"Recall@1: {before:.0%} before, {after:.0%} after" in capsys.readouterr().out


def test_there_are_three_programs():
    assert len(PROGRAMS) == 3
    assert len(PROGRAMS[0].replace("\n\n", "\n").splitlines()) == 9
    assert f"**{len(keras_epos.losses.LOSSES)} losses**" in README.read_text()


def test_the_door_to_photographs_learns_ten_kinds_of_clothes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train, _ = keras_epos.datasets.fashion_sample(label="fine")
    write_photos(tmp_path / "photos", train.inputs, train.labels, of_each=20)
    names = run(PROGRAMS[1])
    check_that_it_learned(names, 1 / 10, capsys)
    batch = next(iter(names["gallery"]))[0] if keras.backend.backend() == "tensorflow" else names["gallery"][0][0]
    again = keras.saving.load_model("photos.keras")
    np.testing.assert_allclose(again.predict(batch, verbose=0), names["model"].predict(batch, verbose=0), atol=1e-5)
    if keras.backend.backend() == "tensorflow":
        assert Path(keras_epos.export_savedmodel(names["model"], "saved_models/photos"), "saved_model.pb").exists()


def test_the_loss_alone_trains_a_plain_model(compiled_as_for_a_reader, capsys):
    run(PROGRAMS[0])
    shown = re.search(r"Recall@1 of the hidden kinds: ([\d.]+)%", capsys.readouterr().out)
    assert float(shown[1]) > 50


@pytest.mark.backend("tensorflow", reason="the program calls `.map` of tf.data")
def test_the_door_to_re_identification_trains_two_outputs(compiled_as_for_a_reader):
    people, cameras = np.arange(48) % 6, np.arange(48) // 6 % 4
    images = np.random.default_rng(0).normal(size=(48, 8, 4, 3)).astype("float32") + people[:, None, None, None]
    assert '"ResNet50"' in PROGRAMS[2]
    names = run(
        PROGRAMS[2].replace('"ResNet50"', "backbone"),
        keras=keras,
        keras_epos=keras_epos,
        backbone=keras.Sequential([keras.Input((8, 4, 3)), keras.layers.Flatten()]),
        num_people=6,
        batches=keras_epos.data.balanced_batches(images, people, 6, 4),
        queries=images[:24].reshape(24, -1),
        gallery=images[24:].reshape(24, -1),
        people=people[:24],
        gallery_people=people[24:],
        cameras=cameras[:24],
        gallery_cameras=cameras[24:],
    )
    assert names["found"]["queries_without_match"] == 0
