"""The example of the hierarchical triplet loss, run as a command on a tiny archive, and run again."""

import pytest
from test_examples import SCRIPT, cars, run  # noqa: F401

pytestmark = pytest.mark.backend("tensorflow", reason="the example needs TensorFlow")
EXAMPLE = SCRIPT.parents[1] / "studies" / "hierarchical_triplet.py"


def test_table_and_picture_and_no_run_twice(cars, tmp_path):  # noqa: F811
    options = ["--data-dir", cars, "--backbone", cars / "backbone.keras", "--image-size", 16, "--out", "."]
    options += ["--embedding-dim", 4, "--batch", "1x2x3", "--epochs", 2, "--warm-up", 1, "--seeds", 0]
    options += ["--arms", "triplet", "HTL, one tree"]
    printed = run(tmp_path, *options, script=EXAMPLE)
    assert printed.count("seed 0") == 2
    assert "4 classes of 24 samples, average linkage" in printed
    assert "Maker Model 1: near Maker Model" in printed
    assert (tmp_path / "dendrogram.png").stat().st_size > 5_000
    again = run(tmp_path, *options, script=EXAMPLE)
    assert "seed 0" not in again
    tables = [[line for line in output.splitlines() if line.startswith("|")] for output in (printed, again)]
    assert tables[0] == tables[1]
    assert len(tables[0]) == 4
