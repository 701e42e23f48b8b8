import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
REAL_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def write_image():
    """Write a random image, JPEG or PNG by its name, making the folders it needs; return its path as str."""

    def write(path, height=12, width=16, seed=0):
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels).save(path, quality=95)
        return str(path)

    return write


@pytest.fixture
def real_data():
    """Return the folder of a real data set, or skip the test."""

    def find(name):
        if not (REAL_DATA / name).is_dir():
            pytest.skip(f"{REAL_DATA / name} is not there")
        return REAL_DATA / name

    return find
