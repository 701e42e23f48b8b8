"""What a run of the example leaves on the disk, whatever kills it, and how runs are compared."""

import errno
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
sys.path.insert(0, str(Path(__file__).parents[1] / "studies"))

import compare_runs
import run_folder
import train_cars
from journal import Journal
from test_examples import cars  # noqa: F401
from train_options import make_loss, parse_arguments, settings_of

SETTINGS = {"seed": 0, "batch": (4, 32)}


def build():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), keras.layers.Dropout(0.5)])
    model.compile("sgd", "mse")
    return model


def run(folder, epochs, resume=False, stop=None):
    """A journal that has seen `epochs` epochs, or what is on the disk when writing fails on the way."""
    journal = Journal(folder, SETTINGS, resume)
    model = journal.start(build)
    journal.set_model(model)
    if "before" not in journal.measures:
        journal.write(before={"recall@1": 0.5}, backbone={"recall@1": 0.55})
    for epoch in range(len(journal.history), epochs):
        model.layers[0].bias.assign([epoch + 1.0])
        journal.on_epoch_end(epoch, {"loss": 1.0 / (epoch + 1), "val_recall@1": 0.6})
    journal.write(after={"recall@1": 0.6})
    return journal


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def killed_at(monkeypatch):
    """Run until the n-th writing of a file, which comes to its middle; what cleans up after errors does not come."""

    def kill(folder, number, resume=False):
        left, replace = [number], run_folder.replace

        class Killed(BaseException):
            pass

        def interrupted(path, save):
            left[0] -= 1
            if left[0] == 0:
                (path.parent / f"{run_folder.UNFINISHED}abc").mkdir()
                (path.parent / f"{run_folder.UNFINISHED}abc" / path.name).write_bytes(b"half")
                raise Killed
            replace(path, save)

        with monkeypatch.context() as patch:
            patch.setattr("journal.replace", interrupted)
            try:
                run(folder, 2, resume)
            except Killed:
                return True
        return False

    return kill


def test_a_run_goes_on_from_every_file_at_which_it_was_killed(tmp_path, killed_at):
    whole = run(tmp_path / "whole", 2)
    number = 0
    while killed_at(tmp_path / f"{number}", number + 1):
        folder = tmp_path / f"{number}"
        assert run_folder.is_begun(folder, [folder])
        killed_at(folder, 2, resume=True)  # And killed again, when it has just begun.
        resumed = run(folder, 2, resume=True)
        assert resumed.history == whole.history
        assert files(folder) == ["epoch-2.keras", "metrics.json"]
        np.testing.assert_array_equal(keras.saving.load_model(folder / "epoch-2.keras").layers[0].bias, [2.0])
        assert (folder / "metrics.json").read_text() == (tmp_path / "whole/metrics.json").read_text()
        number += 1
    assert number == 7  # The first record, before, twice checkpoint and record, after; and nothing more.


def test_what_was_left_is_removed_and_nothing_else(tmp_path):
    run(tmp_path, 1)
    for name in ("unfinished-epoch-2.keras", "epoch-7.keras", "notes.txt"):
        (tmp_path / name).write_text("")
    run(tmp_path, 2, resume=True)
    assert files(tmp_path) == ["epoch-2.keras", "metrics.json", "notes.txt"]


def test_dropout_goes_on_where_it_was_or_a_warning_says_that_it_does_not(tmp_path):
    journal = run(tmp_path, 1)
    journal.model.layers[1].seed_generator.state.assign([7, 3])
    journal.on_epoch_end(1, {})
    resumed = Journal(tmp_path, SETTINGS, resume=True).start(build)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(resumed.layers[1].seed_generator.state), [7, 3])
    record = json.loads((tmp_path / "metrics.json").read_text())
    del record["seeds"]
    (tmp_path / "metrics.json").write_text(json.dumps(record))
    with pytest.warns(UserWarning, match=r"metrics\.json of an earlier version holds no states of dropout"):
        Journal(tmp_path, SETTINGS, resume=True).start(build)


def test_which_folders_hold_a_run(tmp_path):
    folder = tmp_path / "cars196"
    assert run_folder.free_folder(folder) == run_folder.latest_folder(folder) == folder
    assert not run_folder.is_begun(folder, [folder])
    (folder / "easy").mkdir(parents=True)
    assert run_folder.is_begun(folder, [folder / "all", folder / "easy"])
    assert run_folder.free_folder(folder) == tmp_path / "cars196-2"
    (tmp_path / "cars196-2").mkdir()
    assert run_folder.free_folder(folder) == tmp_path / "cars196-3"
    assert run_folder.latest_folder(folder) == tmp_path / "cars196-2"
    (folder / "photo.jpg").write_text("")
    assert not run_folder.is_begun(folder, [folder / "all", folder / "easy"])


def test_a_run_is_not_written_over_and_not_resumed_with_other_settings(tmp_path):
    run(tmp_path, 1)
    kept = (tmp_path / "metrics.json").read_text()
    with pytest.raises(ValueError, match=r"must not hold a run already.*--resume"):
        Journal(tmp_path, SETTINGS)
    with pytest.raises(ValueError, match=r"Received: other batch \(was \[4, 32\], is \[4, 16\]\)\."):
        Journal(tmp_path, SETTINGS | {"batch": (4, 16)}, resume=True)
    assert (tmp_path / "metrics.json").read_text() == kept


def test_where_the_command_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def chosen(*arguments):
        return str(train_cars.run_folder(parse_arguments("", list(arguments)), "sample", ("all", "easy")))

    with pytest.raises(ValueError, match=r"must find a run. Received: runs/sample, which holds none"):
        chosen("--resume")
    assert chosen() == "runs/sample"
    assert capsys.readouterr().out == ""
    run(tmp_path / "runs/sample/all", 1)
    assert chosen("--resume") == "runs/sample"
    assert chosen() == "runs/sample-2"
    assert "runs/sample holds a run already" in capsys.readouterr().out
    assert chosen("--out", "runs/sample") == "runs/sample"  # Which the journal refuses.
    with pytest.raises(ValueError, match="holds none"):
        chosen("--resume", "--out", "runs")
    with pytest.raises(SystemExit):
        chosen("--loss", "triplet")
    assert "--data-dir must be given with --loss" in capsys.readouterr().err


@pytest.mark.backend("tensorflow", reason="the run on Cars196 needs TensorFlow")
def test_a_backbone_that_is_not_there_is_said_before_anything_is_done(cars, tmp_path, capsys):  # noqa: F811
    options = ["--data-dir", str(cars), "--backbone", "no-such.keras", "--hold-out", "2"]
    options += ["--batch", "2x3", "--out", str(tmp_path / "run")]
    with pytest.raises(ValueError, match=r"no-such\.keras"):
        train_cars.run_cars(parse_arguments("", options))
    assert "Decoding" not in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_names_the_file_and_leaves_what_was_there(tmp_path):
    run(tmp_path, 1)
    kept = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    journal = Journal(tmp_path, SETTINGS, resume=True)
    model = journal.start(build)
    kept["metrics.json"] = (tmp_path / "metrics.json").read_bytes()

    class FullDisk:
        @staticmethod
        def save(path):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    journal.set_model(FullDisk)
    with pytest.raises(OSError, match=r"No space left on device: .*epoch-2\.keras"):
        journal.on_epoch_end(1, {})
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == kept
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    assert model is not None


def test_the_record_says_what_was_used_with_its_types(tmp_path):
    def recorded(*arguments):
        args = parse_arguments("", list(arguments))
        return settings_of(args, make_loss(args, np.arange(3)), data="cars196")

    used = recorded("--data-dir", "cars", "--positives", "all", "--set", "temperature=.1", "--batch", "6x4")
    assert used["loss"]["class"] == "NTXentLoss"
    assert used["loss"]["positives"] == {"class": "All"}
    assert used["loss"]["temperature"] == 0.1
    assert (used["batch"], used["epochs"], used["learning_rate"]) == ((6, 4), 40, 4e-4)
    assert recorded("--data-dir", "cars", "--easy-k", "3")["loss"]["positives"]["k"] == 3
    assert set(recorded()) == {"data", "epochs", "batch", "label_noise", "seed", "loss"}
    with pytest.raises(ValueError, match=r"Received: temprature. Did you mean temperature\?"):
        recorded("--data-dir", "cars", "--set", "temprature=0.1")
    run(tmp_path, 1)
    record = json.loads((tmp_path / "metrics.json").read_text())
    assert record["settings"] == {"seed": 0, "batch": [4, 32]}
    assert record["versions"]["keras"] == keras.__version__
    assert record["versions"]["backend"] == keras.backend.backend()


def test_runs_are_compared(tmp_path, capsys):
    for name in ("a/easy", "a/all", "b/easy"):
        run(tmp_path / name, 2)
    compare_runs.compare(compare_runs.records_in([tmp_path / "a", tmp_path / "b/easy"]), tmp_path / "new/curve.png")
    printed = capsys.readouterr().out
    assert printed.count("60.0 %") == 3  # Both runs that are called easy.
    assert printed.count("untrained backbone") == printed.count("before training") == 1
    assert (tmp_path / "new/curve.png").stat().st_size > 10_000

    with pytest.raises(ValueError, match=r"has written metrics\.json\. Received: .*nothing"):
        compare_runs.records_in([tmp_path / "nothing"])
    record = json.loads((tmp_path / "a/all/metrics.json").read_text())
    (tmp_path / "a/all/metrics.json").write_text(json.dumps(record | {"after": {"kind R@1": 0.5}}))
    with pytest.raises(ValueError, match=r"of one data set.*all: kind R@1"):
        compare_runs.compare(compare_runs.records_in([tmp_path / "a"]), tmp_path / "curve.png")
    del record["after"]
    (tmp_path / "a/all/metrics.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"must be finished\. Received: .*all"):
        compare_runs.records_in([tmp_path / "a"])
    (tmp_path / "a/all/metrics.json").write_text("{")
    with pytest.raises(ValueError, match="must be the record of a run"):
        compare_runs.records_in([tmp_path / "a"])


def test_results_of_other_settings_are_not_taken_for_those_asked_for(monkeypatch):
    import hierarchical_triplet
    import noisy_labels

    def kept(module, of, *arguments):
        monkeypatch.setattr(sys, "argv", ["example", *arguments])
        return of(module.parse_arguments())

    others = ([], ["--epochs", "3"], ["--weights", "1", "1", "1"], ["--data-dir", "d"])
    assert len({kept(noisy_labels, noisy_labels.kept_in, *other) for other in others}) == 4
    others = ([], ["--backbone", "b.keras"], ["--image-size", "96"])
    settings = hierarchical_triplet.settings_of
    assert len({kept(hierarchical_triplet, settings, "--data-dir", "d", *other) for other in others}) == 3
