"""The example of wrong labels and the study of rare looks, run as commands, tiny."""

import gzip
import shutil

import numpy as np
import pytest
from test_examples import SCRIPT, run

pytestmark = pytest.mark.backend("tensorflow", reason="the small budget is for one backend")
EXAMPLE = SCRIPT.parents[1] / "studies" / "noisy_labels.py"
FEW = ["--noise", "symmetric", "--share", 0.2, "--learners", "softmax", "easy positives", "--epochs", 3, "--seeds", 0]
FEW += ["--ways", "stages, agreement"]

DONE = """positives,noise,rare,rule,seed,alike,clean_rare,noisy_rare,clean_other,noisy_other,clean_wrong,noisy_wrong
all,0.05,60,agreement,0,8,1,0,0.99,0,0.83,0.13
"""


@pytest.fixture
def idx_files(tmp_path):
    """Forty images in the layout of the official files, one part packed."""
    generator = np.random.default_rng(0)
    for part, open_file in (("train", gzip.open), ("t10k", open)):
        suffix = ".gz" if part == "train" else ""
        with open_file(tmp_path / f"{part}-labels-idx1-ubyte{suffix}", "wb") as file:
            file.write(bytes(8) + (np.arange(200) % 10).astype(np.uint8).tobytes())
        with open_file(tmp_path / f"{part}-images-idx3-ubyte{suffix}", "wb") as file:
            file.write(bytes(16) + generator.integers(0, 256, (200, 28, 28), np.uint8).tobytes())
    return tmp_path


def test_the_example_goes_on_where_it_was(idx_files, tmp_path):
    options = [*FEW, "--data-dir", idx_files, "--samples", 16]
    first = run(tmp_path, *options, "--out", "noisy", script=EXAMPLE)
    assert first.count("seed 0") == 2
    assert "| symmetric 20% | easy positives | agreement |" in first
    assert "| softmax | stages, agreement |" in first
    assert (tmp_path / "noisy/parts.png").stat().st_size > 10_000
    kept = tmp_path / "noisy/16-of-a-kind-epochs-3-weights-1-0.5-0.5"
    assert (kept / "parts-symmetric-0.2-easy-positives-nearest-0.csv").exists()
    again = run(tmp_path, *options, "--out", "noisy", "--picture", "picture.png", script=EXAMPLE)
    assert "seed 0" not in again
    tables = [[line for line in output.splitlines() if line.startswith("|")] for output in (first, again)]
    assert tables[0] == tables[1]
    assert (tmp_path / "picture.png").exists()


def test_the_study_of_rare_looks_prints_its_table(tmp_path):
    study = SCRIPT.parents[1] / "studies/rare_looks.py"
    few = ["--positives", "easy", "--noise", 0.2, "--rare", 20, "--steps", 20, "--out", tmp_path, "--seeds", 0]
    (tmp_path / "rare_looks-20-steps.csv").write_text(DONE)
    printed = run(tmp_path, *few, script=study)
    assert printed.count("seed 0") == 1
    assert printed.count("| easy | 20% | 20 |") == 4
    assert "| all | 5% | 60 | 8 | agreement | 100 / 0 | 99 / 0 | 83 / 13 |" in printed


def test_the_study_of_training_on_rare_looks_goes_on_where_it_was(tmp_path):
    studies = SCRIPT.parents[1] / "studies"
    shutil.copy(studies / "results/rare_looks_trained.csv", tmp_path)
    printed = run(tmp_path, "--out", tmp_path, script=studies / "rare_looks_trained.py")
    assert " seed " not in printed
    assert "| 20% | 60 | stages, agreement | 76.7 ± 2.2 | 75.0 ± 0.4 |" in printed
