import importlib.util
from pathlib import Path

import numpy as np
import pytest

import keras_epos.data
from keras_epos.data.datasets import fashion_sample

FOLDER = Path(keras_epos.data.__file__).parent
SOURCE = Path("/usr/share/datasets/fashion-mnist")
TOOL = Path(__file__).resolve().parents[3] / "tools" / "make_fashion_sample.py"


def test_halves_and_labels():
    train, test = fashion_sample()
    for split in (train, test):
        assert split.inputs.shape == (2000, 28, 28)
        assert split.inputs.dtype == np.uint8
        assert split.labels.dtype == split.modes.dtype == np.int64
        assert np.bincount(split.modes).tolist() == [200] * 10
        assert np.bincount(split.labels).tolist() == [800, 400, 600, 200]
        bundles = {(split.class_names[c], split.mode_names[m]) for c, m in zip(split.labels, split.modes, strict=True)}
        assert bundles == {
            *(("tops", name) for name in ("T-shirt", "Pullover", "Coat", "Shirt")),
            *(("long wear", name) for name in ("Trouser", "Dress")),
            *(("shoes", name) for name in ("Sandal", "Sneaker", "Boot")),
            ("bag", "Bag"),
        }
        assert len(np.unique(split.modes[:100])) == 10  # in random order
    images = np.concatenate([train.inputs, test.inputs]).reshape(4000, -1)
    assert len(np.unique(images, axis=0)) == 4000


def test_fine_labels():
    fine, coarse = fashion_sample(label="fine"), fashion_sample()
    np.testing.assert_array_equal(fine.test.labels, coarse.test.modes)
    np.testing.assert_array_equal(fine.test.groups, coarse.test.labels)
    with pytest.raises(ValueError, match="label='medium'"):
        fashion_sample(label="medium")


def test_classes_look_like_their_names():
    train, test = fashion_sample(label="fine")
    means = np.stack([train.inputs[train.labels == c].mean(0).ravel() for c in range(10)])
    distance = ((test.inputs.reshape(2000, 1, -1) - means) ** 2).mean(-1)
    assert (distance.argmin(1) == test.labels).mean() > 0.6  # nearest mean; 0.1 by chance
    widths = (means.reshape(10, 28, 28).max(1) > 60).sum(1)
    assert widths[train.class_names.index("Trouser")] < widths[train.class_names.index("Pullover")]


def test_file_is_small_and_licensed():
    assert (FOLDER / "fashion_sample.npz").stat().st_size < 2_000_000
    notice = (FOLDER / "fashion_sample.LICENSE").read_text()
    assert "MIT" in notice
    assert "Zalando SE" in notice


def test_the_script_makes_these_arrays():
    if not SOURCE.is_dir() or not TOOL.exists():
        pytest.skip("needs the repository and Debian's dataset-fashion-mnist")
    spec = importlib.util.spec_from_file_location("make_fashion_sample", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    images = tool.read_idx(SOURCE / "train-images-idx3-ubyte.gz", 16, (-1, 28, 28))
    labels = tool.read_idx(SOURCE / "train-labels-idx1-ubyte.gz", 8, (-1,))
    images, labels = tool.choose(images, labels)
    with np.load(FOLDER / "fashion_sample.npz") as made:
        np.testing.assert_array_equal(made["images"], images)
        np.testing.assert_array_equal(made["labels"], labels)
    assert (FOLDER / "fashion_sample.LICENSE").read_text() == tool.NOTICE
