"""The README's programs run, one after the other, as a reader would run them."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.backend("tensorflow", reason="tf.data and export need TensorFlow")

README = Path(__file__).parents[1] / "README.md"


def test_programs_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for name in "abcdef":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(4):
            image = generator.integers(0, 256, (100, 120, 3), np.uint8)
            keras.utils.save_img(tmp_path / "photos" / name / f"{number}.jpg", image)
    programs = re.findall(r"```python\n(.+?)```", README.read_text(), flags=re.DOTALL)
    assert len(programs) == 2
    names = {}
    for program in programs:
        exec(program, names)
    assert "Recall@1 of the hidden kinds" in capsys.readouterr().out
    assert (tmp_path / "saved_models/photos/1/saved_model.pb").exists()
