import zipfile

import numpy as np
import pytest
import tensorflow as tf

from keras_epos.data.datasets import omniglot

DRAWINGS = {
    "images_background": [
        "Greek/character01/0001_01.png",
        "Greek/character02/0002_01.png",
        "Bengali/character01/0003_01.png",
    ],
    "images_evaluation": ["Tibetan/character01/0004_01.png", "Angelic/character01/0005_01.png"],
}


@pytest.fixture
def archives(tmp_path):
    level = 0
    for part, names in DRAWINGS.items():
        with zipfile.ZipFile(tmp_path / f"{part}.zip", "w") as archive:
            archive.writestr(f"__MACOSX/{part}/._x.png", b"not an image")
            for name in names:
                level += 1
                pixels = np.full((105, 105, 1), level, np.uint8)
                archive.writestr(f"{part}/{name}", tf.io.encode_png(pixels).numpy())
    return tmp_path


@pytest.mark.parametrize("unpacked", [False, True])
def test_characters_and_alphabets(archives, unpacked):
    if unpacked:
        for part in DRAWINGS:
            with zipfile.ZipFile(archives / f"{part}.zip") as archive:
                archive.extractall(archives)
            (archives / f"{part}.zip").unlink()
    train, test = omniglot(archives)
    assert train.inputs.shape == (3, 105, 105, 1)
    assert train.inputs.dtype == np.uint8
    assert train.inputs[:, 50, 50, 0].tolist() == [3, 1, 2]
    assert train.labels.tolist() == [0, 1, 2]
    assert test.labels.tolist() == [3, 4]
    assert train.class_names[1:4] == ["Greek/character01", "Greek/character02", "Angelic/character01"]
    assert [train.group_names[group] for group in train.groups] == ["Bengali", "Greek", "Greek"]
    coarse = omniglot(archives, label="alphabet", size=28)
    assert coarse.train.labels.tolist() == [0, 1, 1]
    assert coarse.test.labels.tolist() == [2, 3]
    assert coarse.test.modes.tolist() == [3, 4]
    assert coarse.train.mode_names == train.class_names
    assert coarse.train.inputs.shape == (3, 28, 28, 1)
    assert coarse.train.inputs[:, 20, 20, 0].tolist() == [3, 1, 2]


def test_names_that_lead_out_of_the_archive_are_refused(archives):
    with zipfile.ZipFile(archives / "images_background.zip", "a") as archive:
        archive.writestr("images_background/../../x/y.png", b"")
    with pytest.raises(ValueError, match=r"Omniglot must name files in .*Received: 'images_background/\.\./"):
        omniglot(archives)


def test_errors(archives, tmp_path):
    with pytest.raises(ValueError, match="label='letter'"):
        omniglot(archives, label="letter")
    (archives / "images_evaluation.zip").unlink()
    with pytest.raises(FileNotFoundError, match=r"(?s)no images_evaluation\.zip\..*brendenlake"):
        omniglot(tmp_path)


@pytest.mark.slow
def test_real_data(real_data):
    train, test = omniglot(real_data("omniglot"), label="alphabet", size=14)
    assert (len(train), len(test)) == (964 * 20, 659 * 20)
    assert np.unique(train.labels).tolist() == list(range(30))
    assert np.unique(test.labels).tolist() == list(range(30, 50))
    assert np.bincount(np.concatenate([train.modes, test.modes])).tolist() == [20] * 1623
    assert 200 < train.inputs.mean() < 250  # thin black strokes on white
