import pytest

from keras_epos.data.datasets import image_folder


@pytest.fixture
def folder(tmp_path, write_image):
    for name in ("cat/1.jpg", "cat/deeper/2.png", "ant/3.jpg", "dog/4.jpg", "bee/5.JPG", ".hidden/6.jpg"):
        path = tmp_path / name
        write_image(path.with_suffix(path.suffix.lower())).lower()
        path.with_suffix(path.suffix.lower()).rename(path)
    (tmp_path / "dog/notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    write_image(tmp_path / "stray.jpg")
    return tmp_path


def test_last_classes_are_held_out(folder):
    train, test = image_folder(folder)
    assert train.class_names == ["ant", "bee", "cat", "dog"]
    assert [p.rsplit("/", 1)[1] for p in train.inputs] == ["3.jpg", "5.JPG"]
    assert train.labels.tolist() == [0, 1]
    assert [p.rsplit("/", 1)[1] for p in test.inputs] == ["1.jpg", "2.png", "4.jpg"]
    assert test.labels.tolist() == [2, 2, 3]


def test_all_for_training(folder):
    train, test = image_folder(folder, test_classes=0)
    assert (len(train), len(test)) == (5, 0)


def test_errors(folder, tmp_path):
    with pytest.raises(ValueError, match=r"test_classes=1\.0"):
        image_folder(folder, test_classes=1.0)
    with pytest.raises(FileNotFoundError, match="one folder a class"):
        image_folder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="No images"):
        image_folder(folder / "cat/deeper")
