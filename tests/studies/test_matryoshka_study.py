"""The study of cut embeddings, briefly."""

import re

import pytest
from test_examples import SCRIPT, run


@pytest.mark.backend("tensorflow", reason="one backend is enough for a study")
def test_both_arms_are_measured_and_drawn(tmp_path):
    script = SCRIPT.parents[1] / "studies" / "matryoshka.py"
    printed = run(tmp_path, "--seeds", 0, "--steps", 2, "--plot", "plot.png", script=script)
    assert len(re.findall(r"^\| (NT-Xent|Matryoshka of it) (\| [\d.]+ ){6}\|$", printed, re.M)) == 2
    assert (tmp_path / "plot.png").stat().st_size > 10_000
