"""The benchmark for GPUs runs to its end without one: small, as a command, on the backend at hand."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"
LOSSES = (
    "easy triplet, semi-hard",
    "easy margin, distance-weighted",
    "easy multi-similarity",
    "all-positive triplet, semi-hard",
    "easy NT-Xent",
)


@pytest.mark.slow
def test_every_mode_is_timed_and_compared_with_float32_and_mixed_steps_stay_finite():
    environment = {
        **os.environ,
        "KERAS_BACKEND": keras.backend.backend(),
        # Compile quickly rather than well.
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    few = ("--batch", "64", "--dim", "32", "--rounds", "1", "--calls", "2", "--steps", "3")
    done = subprocess.run([sys.executable, SCRIPT, *few], env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    for policy in ("mixed_float16", "mixed_bfloat16"):
        assert f"{policy}: 3 steps, loss " in done.stdout
    assert done.stdout.count("all finite; weights finite, moved by 0.0") == 2

    title, table = done.stdout.split(" on average, ")[-1].split("x product")
    assert "loss and gradient of 64 rows of 32 dimensions" in title
    lines = {}
    for line in table.splitlines():
        name, colon, numbers = line.partition(": ")
        if colon:
            mode = numbers[: -4 * 13].strip()
            lines[name, mode] = [None if one == "-" else float(one) for one in numbers[-4 * 13 :].split()]
    for name in LOSSES:
        ratio, _, value, gradient = lines[name, "float32"]
        assert ratio > 0
        assert value == gradient == 0  # what the others are compared with
        ratio, _, value, gradient = lines[name, "bfloat16 embeddings"]
        assert ratio > 0
        assert 0 < value < 1e5
        assert 0 < gradient < 1e5
        assert lines[name, "tf32"][0] > 0
    error = {mode: lines["one product", mode][2] for mode in ("float32", "tf32", "bfloat16 embeddings")}
    assert error["float32"] < 1
    assert error["float32"] <= error["tf32"] < error["bfloat16 embeddings"]
