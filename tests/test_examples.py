"""The example, run as a command: on the embedded sample, on a tiny archive in the layout of Cars196, and resumed."""

import contextlib
import io
import json
import runpy
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.backend("tensorflow", reason="the example needs TensorFlow")

SCRIPT = Path(__file__).parents[1] / "examples" / "train_cars.py"


def run(folder, *arguments, code=0, script=SCRIPT):
    """What the script prints when it is run as a command; here, because each process would load TensorFlow again."""
    printed = io.StringIO()
    modules = set(sys.modules)
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        patch.chdir(folder)
        patch.setattr(sys, "argv", [str(script), *map(str, arguments)])
        patch.setattr(warnings, "formatwarning", warnings.formatwarning)
        patch.syspath_prepend(script.parent)
        keras.utils.clear_session(free_memory=False)  # numbers in names start again, as in a process of its own
        try:
            runpy.run_path(str(script), run_name="__main__")
            ended = 0
        except SystemExit as end:
            ended = end.code if isinstance(end.code, int) else int(end.code is not None)
            printed.write(end.code if isinstance(end.code, str) else "")
        finally:
            for name in set(sys.modules) - modules:
                if Path(getattr(sys.modules[name], "__file__", None) or "").parent == script.parent:
                    del sys.modules[name]
    assert ended == code, printed.getvalue()
    return printed.getvalue()


@pytest.fixture(scope="module")
def cars(tmp_path_factory):
    """Six images of each of seven car models, three of them unseen, and a backbone of a few layers."""
    scipy_io = pytest.importorskip("scipy.io")
    folder = tmp_path_factory.mktemp("cars")
    (folder / "cars_train").mkdir()
    (folder / "devkit").mkdir()
    generator = np.random.default_rng(0)
    rows = []
    for number, label in enumerate(np.repeat([1, 2, 3, 4, 99, 100, 101], 6), start=1):
        name = f"{number:05d}.jpg"
        keras.utils.save_img(folder / "cars_train" / name, generator.integers(0, 256, (40, 48, 3), np.uint8))
        rows.append((1, 1, 48, 40, int(label), name))
    fields = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]
    annotations = np.array(rows, [(field, "O") for field in fields])[None]
    scipy_io.savemat(folder / "devkit/cars_train_annos.mat", {"annotations": annotations})
    names = np.array([f"Maker Model {number}" for number in range(1, 197)], dtype=object)[None]
    scipy_io.savemat(folder / "devkit/cars_meta.mat", {"class_names": names})
    inputs = keras.Input((None, None, 3))
    layers = [keras.layers.Conv2D(4, 3, strides=2), keras.layers.BatchNormalization(), keras.layers.Dropout(0.2)]
    layers.append(keras.layers.Conv2D(4, 3))
    outputs = inputs
    for layer in layers:
        outputs = layer(outputs)
    keras.Model(inputs, outputs).save(folder / "backbone.keras")
    return folder


def test_help_and_missing_data():
    assert "--positives" in run(SCRIPT.parent, "--help")
    message = run(SCRIPT.parent, "--data-dir", "no-such-folder", code=1)
    assert message.startswith("train_cars.py: ")
    assert "no-such-folder" in message


def test_cars_interrupted_and_resumed_equals_uninterrupted(cars, tmp_path):
    options = ["--data-dir", cars, "--backbone", cars / "backbone.keras", "--batch", "2x3", "--image-size", 16]
    options += ["--test-size", 24, "--embedding-dim", 4, "--evaluate-every", 1, "--freeze", 0.5, "--epochs", 8]
    options += ["--hold-out", 2, "--positives", "random"]  # Both dropout and mining have seeds.
    output = run(tmp_path, *options, "--out", "whole")
    assert "untrained backbone" in output
    assert "end of training" in output
    assert "after, share" in output
    assert (tmp_path / "saved_models/cars196/1/saved_model.pb").exists()
    files = {path.name for path in (tmp_path / "whole").iterdir()}
    assert files == {"metrics.json", "curve.png", "neighbors.png", "epoch-8.keras", "start.keras", "chosen.keras"}

    assert "must be 0, or two classes at least" in run(tmp_path, *options, "--hold-out", 3, "--out", "none", code=1)

    record = tmp_path / "parts/metrics.json"
    assert "--resume" in interrupted(tmp_path, record.parent, *options, "--out", "parts")
    assert 1 <= len(json.loads(record.read_text())["history"]) < 8
    changed = run(tmp_path, *options, "--out", "parts", "--resume", "--seed", 1, code=1)
    assert "other seed (was 0, is 1)" in changed
    run(tmp_path, *options, "--out", "parts", "--resume")
    whole, parts = json.loads((tmp_path / "whole/metrics.json").read_text()), json.loads(record.read_text())
    assert [row["epoch"] for row in parts["history"]] == list(range(1, 9))
    losses = [[row["loss"] for row in run_record["history"]] for run_record in (whole, parts)]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    assert parts["after"] == whole["after"]
    assert parts["chosen"] == whole["chosen"]
    assert list(parts["chosen"]["held_out"]) == ["0.0", "0.25", "0.5", "0.75", "1.0"]


def interrupted(folder, out, *arguments):
    """What the example says when Ctrl-C comes after its first epoch."""

    record = out / "metrics.json"

    def watch():
        while not ended.is_set():
            # By its record, as a checkpoint that this does not name yet is no epoch.
            if record.is_file() and json.loads(record.read_text())["history"]:
                signal.raise_signal(signal.SIGINT)
                return
            time.sleep(0.01)

    ended = threading.Event()
    # A test run started in the background ignores Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        return run(folder, *arguments, code=130)
    finally:
        ended.set()
        watcher.join()
        signal.signal(signal.SIGINT, before)


def test_sample_shows_both_arms_goes_on_between_them_and_is_not_written_over(tmp_path):
    output = run(tmp_path, "--epochs", 1)
    assert "all positives" in output
    assert "easy positives" in output
    folder = tmp_path / "runs/fashion_sample"
    assert (folder / "curve.png").stat().st_size > 10_000
    assert (tmp_path / "saved_models/fashion_sample/1/saved_model.pb").exists()
    whole = {arm: json.loads((folder / arm / "metrics.json").read_text()) for arm in ("all", "easy")}
    assert [whole[arm]["settings"]["loss"]["positives"]["class"] for arm in whole] == ["All", "Easy"]
    assert whole["easy"]["settings"]["embedding_dim"] == 64

    # Killed between the arms, when the folder of the second one was just made.
    for path in (folder / "easy").iterdir():
        path.unlink()
    (folder / "curve.png").unlink()
    run(tmp_path, "--epochs", 1, "--resume")
    assert (folder / "curve.png").exists()
    resumed = {arm: json.loads((folder / arm / "metrics.json").read_text()) for arm in ("all", "easy")}
    assert resumed["all"] == whole["all"]
    assert resumed["easy"]["settings"] == whole["easy"]["settings"]
    np.testing.assert_allclose(resumed["easy"]["after"]["kind R@1"], whole["easy"]["after"]["kind R@1"], atol=0.02)


def test_pair_weights_are_drawn(tmp_path):
    run(tmp_path, "--losses", "contrastive", "circle", script=SCRIPT.with_name("pair_weights.py"))
    assert (tmp_path / "pair_weights.png").stat().st_size > 10_000


def test_noise_model_prints_its_tables_and_is_drawn(tmp_path):
    script = SCRIPT.parents[1] / "studies/noise_model.py"
    output = run(tmp_path, "--draws", 20, "--seeds", 1, "--steps", 0.01, script=script)
    assert "0.1    0.018000    0.018000    0.019708    0.021415" in output
    assert output.count("easy") == 14
    assert (tmp_path / "noise_model.png").stat().st_size > 10_000


def test_class_collapse_prints_its_table_and_is_drawn(tmp_path):
    printed = run(tmp_path, "--steps", 3, "--out", ".", script=SCRIPT.with_name("class_collapse.py"))
    assert "easy positives" in printed
    assert (tmp_path / "class_collapse.png").stat().st_size > 10_000


def test_the_study_of_collapse_goes_on_where_it_was_and_is_reported(tmp_path):
    study = SCRIPT.parents[1] / "studies/collapse_study.py"
    choices = [
        ["contrastive", positives, {"negative_margin": m}, m] for positives in ("all", "easy") for m in (0.3, 0.5)
    ]
    (tmp_path / "fashion-settings.json").write_text(
        json.dumps([*choices, ["contrastive", "all", {"negative_margin": 0.7}, 0]])
    )
    few = ("fashion", "--out", tmp_path, "--steps", 2, "--losses", "contrastive", "--positives", "all", "easy")
    printed = run(tmp_path, *few, "--noise", 0.2, "--drawn", "once", "anew", "--seeds", 0, script=study)
    assert printed.count("choosing") == 1
    assert printed.count("seed 0") == 5
    assert printed.count("untrained") == 1
    chosen = (tmp_path / "fashion-settings.json").read_text()
    with (tmp_path / "fashion.csv").open("a") as file:
        file.write("contrastive,easy,0.2")  # a line that was cut off
    printed = run(tmp_path, *few, "--noise", 0.0, 0.2, "--seeds", 0, 1, script=study)
    assert (tmp_path / "fashion-settings.json").read_text() == chosen
    assert "choosing" not in printed
    assert printed.count("seed 0") == 2
    assert printed.count("seed 1") == 5
    printed = run(tmp_path, "--results", tmp_path, "--out", tmp_path, script=study.with_name("collapse_report.py"))
    assert printed.count("all cells") == 2
    assert "| contrastive | easy |" in (tmp_path / "collapse_study.md").read_text()
    assert "| untrained |  |" in (tmp_path / "collapse_study.md").read_text()
    assert (tmp_path / "images/collapse_fashion.png").stat().st_size > 10_000


def test_settings_of_the_study_given_by_hand(tmp_path):
    study = SCRIPT.parents[1] / "studies/collapse_study.py"
    few = ("fashion", "--steps", 2, "--losses", "contrastive", "--positives", "all", "--noise", 0.0, "--seeds", 0)
    apart = (*few, "--out", tmp_path)
    printed = run(tmp_path, *apart, "--settings", '{"negative_margin": 0.5}', script=study)
    assert "choosing" not in printed
    assert not (tmp_path / "fashion-settings.json").exists()
    rows = (tmp_path / "fashion.csv").read_text()
    (tmp_path / "fashion.csv").unlink()
    run(tmp_path, *apart, "--settings", '{"negative_margin": -0.5}', script=study)
    assert (tmp_path / "fashion.csv").read_text() != rows
    assert "an --out of its own" in run(tmp_path, *few, "--settings", "{}", code=2, script=study)
    assert "must be JSON such as" in run(tmp_path, *apart, "--settings", "[0.5]", code=2, script=study)


def test_every_loss_goes_on_where_it_was(tmp_path):
    script = SCRIPT.parents[1] / "studies/every_loss.py"
    options = ["--losses", "contrastive", "proxy_anchor", "--seeds", 0, "--steps", 2]
    first = run(tmp_path, *options, script=script)
    assert "| loss | class R@1, all | class R@1, easy | kind R@1, all | kind R@1, easy |" in first
    again = run(tmp_path, *options, script=script)
    assert "seed 0" not in again
    tables = [[line for line in output.splitlines() if line.startswith("|")] for output in (first, again)]
    assert tables[0] == tables[1]
    assert len(tables[0]) == 5
    assert [line.count("±") for line in tables[0][2:]] == [2, 4, 2]
