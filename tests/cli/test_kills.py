"""`benchmarks/kills.py` once: a command that was killed (SIGKILL) goes on with the same result."""

import subprocess
import sys
from pathlib import Path

import pytest

import keras_epos

ROOT = Path(keras_epos.__file__).parents[1]


@pytest.mark.backend("tensorflow", reason="the benchmarks need TensorFlow")
def test_embed_goes_on_after_a_kill():
    options = ("--commands", "embed", "--kills", "1", "--images", "24")
    command = [sys.executable, ROOT / "benchmarks" / "kills.py", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("embed: 1 kills, ")
    assert done.stdout.endswith(", 1 resumed with the same result\n")
