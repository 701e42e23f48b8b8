"""`image_folder`: classes and splits by folder, what is passed over and said, and refusals."""

import warnings

import numpy as np
import pytest

from keras_epos.data.datasets import image_folder
from keras_epos.data.datasets._image_folder import _ENDINGS as ENDINGS


@pytest.fixture
def make(tmp_path):
    """Make files in a folder; what is in them is not read."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        return tmp_path

    return make


@pytest.fixture
def folder(make):
    return make("cat/1.jpg", "cat/deeper/2.png", "ant/3.jpg", "dog/4.jpg", "bee/5.JPG", ".hidden/6.jpg", "cat/._1.jpg")


def files(split):
    return [path.rsplit("/", 1)[1] for path in split.inputs]


def quiet(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return image_folder(*arguments, **options)


def test_last_classes_are_held_out(folder):
    train, test = quiet(folder)
    assert train.class_names == ["ant", "bee", "cat", "dog"]
    assert files(train) == ["3.jpg", "5.JPG"]
    assert train.labels.tolist() == [0, 1]
    assert files(test) == ["1.jpg", "2.png", "4.jpg"]
    assert test.labels.tolist() == [2, 2, 3]


@pytest.mark.parametrize(("test_classes", "held_out"), [(0, 0), (1, 1), (np.int64(3), 3), (0.25, 1), (0.99, 3)])
def test_share_or_number_of_test_classes(folder, test_classes, held_out):
    train, test = image_folder(folder, test_classes=test_classes)
    assert np.unique(train.labels).tolist() == list(range(4 - held_out))
    assert np.unique(test.labels).tolist() == list(range(4 - held_out, 4))


def test_a_decimal_share_is_what_it_says(make):
    folder = make(*(f"{number:03d}/1.jpg" for number in range(100)))
    for percent in range(1, 100):
        assert len(image_folder(folder, test_classes=percent / 100).test) == percent


def test_validation_by_class(make):
    folder = make(*(f"{name}/{number}.jpg" for name in "abcdefgh" for number in range(3)))
    train, validation, test = image_folder(folder, validation_classes=0.25)
    assert [np.unique(part.labels).tolist() for part in (train, validation, test)] == [[0, 1, 2], [3], [4, 5, 6, 7]]
    train, validation, test = image_folder(folder, validation_classes=2, test_classes=1)
    assert [np.unique(part.labels).tolist() for part in (train, validation, test)] == [[0, 1, 2, 3, 4], [5, 6], [7]]
    assert train.class_names == validation.class_names == list("abcdefgh")


def test_test_images_of_the_training_classes(make):
    sizes = {"a": 12, "b": 2, "c": 1}
    folder = make(*(f"{name}/{number}.jpg" for name, size in sizes.items() for number in range(size)))
    train, test = image_folder(folder, test_images=0.25)
    assert np.bincount(train.labels).tolist() == [9, 1, 1]
    assert np.bincount(test.labels).tolist() == [3, 1]
    assert sorted(train.inputs + test.inputs) == image_folder(folder, test_classes=0).train.inputs
    assert image_folder(folder, test_images=0.25).test.inputs == test.inputs
    assert image_folder(folder, test_images=0.25, seed=1).test.inputs != test.inputs
    train, validation, test = image_folder(folder, test_images=0.5, validation_classes=1)
    assert [np.bincount(part.labels).tolist() for part in (train, validation, test)] == [[6, 1], [0, 0, 1], [6, 1]]


def test_every_ending_of_the_decoder_is_read(make):
    names = [f"a/1{ending}" for ending in ENDINGS] + [f"b/2{ending.upper()}" for ending in ENDINGS]
    assert {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"} == set(ENDINGS)
    train, test = quiet(make(*names))
    assert (len(train), len(test)) == (len(ENDINGS), len(ENDINGS))


def test_what_is_passed_over_is_said_once(make):
    folder = make("a/1.jpg", "a/2.tif", "a/3.TIF", "a/notes.txt", "a/README", "b/1.jpg", "stray.jpg", "labels.csv")
    make("b/Thumbs.db")
    (folder / "empty").mkdir()
    make("only/x.tif")
    with pytest.warns(UserWarning, match="image_folder passes over") as caught:
        image_folder(folder)
    (warning,) = caught
    message = str(warning.message)
    assert "5 files of other endings (3 .tif, 1 .txt, 1 without ending)" in message
    assert "1 image lying beside the class folders (stray.jpg)" in message
    assert "2 class folders without images (empty, only)" in message
    assert warning.filename == __file__


def test_folders_of_parts_are_the_split(make):
    names = ("train/ant/1.jpg", "train/cat/2.jpg", "Test/bee/3.jpg", "Test/cat/4.jpg")
    train, test = quiet(make(*names))
    assert train.class_names == test.class_names == ["ant", "bee", "cat"]
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 2], [1, 2])
    # Classes of the training folder may still be held out.
    train, validation, test = image_folder(make(), validation_classes=1)
    assert (files(train), files(validation), files(test)) == (["1.jpg"], ["2.jpg"], ["3.jpg", "4.jpg"])
    make("valid/dog/5.jpg", "valid/loose.jpg")
    with pytest.warns(UserWarning, match=r"1 image lying beside the class folders \(valid/loose.jpg\)"):
        parts = image_folder(make())
    assert parts._fields == ("train", "validation", "test")
    assert [part.labels.tolist() for part in parts] == [[0, 2], [3], [1, 2]]


def test_train_and_validation_folders_and_query_and_gallery(make):
    train, test = quiet(make("one/train/ant/1.jpg", "one/val/bee/2.jpg") / "one")
    assert (files(train), files(test)) == (["1.jpg"], ["2.jpg"])
    parts = quiet(make("two/query/bee/1.jpg", "two/gallery/ant/2.jpg", "two/gallery/bee/3.jpg") / "two")
    assert parts._fields == ("train", "query", "gallery")
    assert [part.labels.tolist() for part in parts] == [[], [1], [0, 1]]


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["train/a/1.jpg", "val/a/1.jpg", "extra/1.jpg"], {}, r"Received: extra/ beside them"),
        (["train/a/1.jpg", "test/1.jpg"], {}, r"without class folders in test/\. Pass .*train"),
        (["train/a/1.jpg"], {}, r"folders of \['train'\]"),
        (["train/a/1.jpg", "test/a/1.jpg"], {"test_classes": 0.5}, "must be left out where folders are the split"),
        (["train/a/1.jpg", "val/a/1.jpg"], {"validation_classes": 1}, "where folders hold the validation"),
    ],
)
def test_parts_that_are_no_split_are_refused(make, names, options, message):
    with pytest.raises(ValueError, match=message):
        image_folder(make(*names), **options)


def test_a_class_may_be_named_like_a_part(make):
    train, _ = quiet(make("car/1.jpg", "train/1.jpg"))
    assert train.class_names == ["car", "train"]


def test_links_are_followed_and_never_in_circles(make, tmp_path):
    folder = make("photos/a/1.jpg", "photos/b/1.jpg", "elsewhere/2.jpg") / "photos"
    (folder / "a/more").symlink_to(tmp_path / "elsewhere")
    (folder / "a/up").symlink_to(folder)
    assert files(image_folder(folder, test_classes=0).train) == ["1.jpg", "2.jpg", "1.jpg"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_classes": 1.0}, r"test_classes=1\.0\. To use all to train, pass 0"),
        ({"test_classes": 4}, "must leave a class to train.*4 of 4 classes"),
        ({"test_classes": 0.2}, "hold out one unless it is 0.*of 4 classes"),
        ({"test_classes": True}, "test_classes=True"),
        ({"test_classes": -1}, "test_classes=-1"),
        ({"test_classes": "3"}, "test_classes='3'"),
        ({"validation_classes": 2}, "validation_classes=2 of 2 classes"),
        ({"validation_classes": 1.5}, r"validation_classes=1\.5"),
        ({"test_images": 1}, "test_images=1. To use all"),
        ({"test_images": 0.2, "test_classes": 0.5}, "either of new classes or of new images"),
    ],
)
def test_wrong_shares(folder, options, message):
    with pytest.raises(ValueError, match=message):
        image_folder(folder, **options)


def test_folders_that_are_not_there(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"one folder a class.*nowhere, which does not exist"):
        image_folder(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match=r"1\.jpg, a file"):
        image_folder(folder / "cat/1.jpg")
    with pytest.warns(UserWarning, match="beside"), pytest.raises(FileNotFoundError, match="No images"):
        image_folder(folder / "cat/deeper")
