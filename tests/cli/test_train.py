"""`train` leaves model, gallery, threshold and card, and goes on where it was stopped."""

import json

import keras
import numpy as np
import pytest
from command_line import SIZE, run

import keras_epos
from keras_epos.callbacks._checkpoints import Checkpoints
from keras_epos.cli import _train

pytestmark = pytest.mark.filterwarnings("ignore:Only . classes play:UserWarning")


@pytest.fixture(scope="module")
def arguments(folder, tmp_path_factory):
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("backbone") / "backbone.keras"
    layers = [keras.Input((None, None, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(8, 3, 2, "same")]
    layers += [keras.layers.Dropout(0.2)]
    keras.Sequential(layers).save(path)
    options = "--epochs 2 --samples 4 --hold-out 0.5 --false-accept-rate 0.5"
    return ["train", folder, "--backbone", path, "--image-size", SIZE, *options.split(), "--out"]


class Killed(BaseException):
    """Nothing cleans up after it but `finally`."""


def test_a_run_that_died_goes_on_with_the_same_result(arguments, tmp_path, monkeypatch):
    printed = run(*arguments, tmp_path / "whole").output
    assert "30 images of 3 classes held out" in printed
    assert "for a false-accept rate of 50 %" in printed
    write = Checkpoints.write

    def dying(checkpoints, epoch, save):
        if epoch == 2:
            raise Killed
        write(checkpoints, epoch, save)

    monkeypatch.setattr(Checkpoints, "write", dying)
    with pytest.raises(Killed):
        run(*arguments, tmp_path / "killed")
    monkeypatch.undo()
    assert "goes on after epoch 1 of 2." in run(*arguments, tmp_path / "killed").output
    whole, killed = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("whole", "killed"))
    assert whole == killed
    names = sorted(path.name for path in (tmp_path / "killed").iterdir())
    assert names == ["README.md", "card.json", "gallery", "metrics.json", "model.keras", "threshold.json"]
    weights = [keras.saving.load_model(tmp_path / name / "model.keras").get_weights() for name in ("whole", "killed")]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
    check_what_is_left(tmp_path / "whole", whole)
    changed = run(*arguments, tmp_path / "whole", "--seed", 1, code=1).output
    assert "Received: seed 1, which was 0." in changed
    before = (tmp_path / "whole" / "model.keras").stat().st_mtime_ns
    assert "is finished. To train it once more, pass --restart." in run(*arguments, tmp_path / "whole").output
    assert (tmp_path / "whole" / "model.keras").stat().st_mtime_ns == before


def check_what_is_left(folder, record):
    assert len(record["epochs"]) == 2
    assert record["after"]["recall@1"] >= record["before"]["recall@1"]
    gallery = keras_epos.Gallery.load(folder / "gallery", keras.saving.load_model(folder / "model.keras"))
    assert len(gallery) == 60
    assert gallery.threshold.num_unknown == 20
    assert gallery.threshold == keras_epos.Threshold.from_config(json.loads((folder / "threshold.json").read_text()))
    card = (folder / "README.md").read_text()
    assert str(gallery.threshold).splitlines()[0] in card
    assert "- [ ] To be filled in: the license of the data." in card


def test_a_threshold_is_measured_on_classes_that_the_gallery_does_not_hold():
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(8), 20)
    rows = generator.normal(size=(8, 6))[labels] + 0.4 * generator.normal(size=(160, 6))
    is_held_out = labels >= 4
    threshold, _ = _train.threshold_of(rows, labels, is_held_out, 0.25)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    in_gallery = ~np.isin(labels, [4, 6])
    nearest = (unit[~in_gallery] @ unit[in_gallery].T).max(axis=1)
    assert (nearest >= threshold.value).mean() == 0.25
    assert threshold.num_unknown == 40
    nothing, words = _train.threshold_of(rows, labels, is_held_out, 0.05)
    assert nothing is None
    assert "on 200 photographs" in words
    assert "are 40 of 2." in words


def test_a_folder_of_something_else_is_not_touched(arguments, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    assert "must be a folder that is new, empty, or of a run" in run(*arguments, tmp_path, code=1).output
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
