import warnings

import numpy as np
import pytest
import tensorflow as tf

from keras_epos.data import image_batches, image_loader
from keras_epos.data.datasets import cars196

scipy_io = pytest.importorskip("scipy.io")
LAYOUT = [("bbox_x1", "O"), ("bbox_y1", "O"), ("bbox_x2", "O"), ("bbox_y2", "O")]
LAYOUT += [("class", "O"), ("fname", "O")]


def write_half(folder, annotations, classes, write_image):
    names = [f"{number:05d}.jpg" for number in range(1, len(classes) + 1)]
    for number, name in enumerate(names):
        write_image(folder / name, seed=number)
    rows = [(1, 1, 16, 12, c, name) for c, name in zip(classes, names, strict=True)]
    annotations.parent.mkdir(exist_ok=True)
    scipy_io.savemat(annotations, {"annotations": np.array([tuple(r) for r in rows], LAYOUT)[None]})


@pytest.fixture
def archive(tmp_path, write_image):
    write_half(tmp_path / "cars_train", tmp_path / "devkit/cars_train_annos.mat", [1, 98, 99, 196, 98], write_image)
    names = np.array([f"Maker Model {number} 2012" for number in range(1, 197)], dtype=object)
    scipy_io.savemat(tmp_path / "devkit/cars_meta.mat", {"class_names": names[None]})
    return tmp_path


def test_train_half_only(archive):
    with pytest.warns(UserWarning, match="lacks the test half"):
        train, test = cars196(archive)
    assert train.labels.tolist() == [0, 97, 97]
    assert test.labels.tolist() == [98, 195]
    assert train.labels.dtype == np.int64
    assert [path.rsplit("/", 2)[1:] for path in test.inputs] == [
        ["cars_train", "00003.jpg"],
        ["cars_train", "00004.jpg"],
    ]
    assert test.class_names[195] == "Maker Model 196 2012"
    assert next(iter(image_batches(train.inputs, 8))).shape == (3, 8, 8, 3)


@pytest.mark.parametrize("folder", [".", "devkit"])
def test_both_halves_are_pooled(archive, write_image, folder):
    labels = archive / folder / "cars_test_annos_withlabels.mat"
    write_half(archive / "cars_test", labels, [2, 99], write_image)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train, test = cars196(archive)
    assert train.labels.tolist() == [0, 97, 97, 1]
    assert test.labels.tolist() == [98, 195, 98]
    assert test.inputs[-1].endswith("cars_test/00002.jpg")


def test_names_that_lead_out_of_the_folder_are_refused(archive):
    rows = [(1, 1, 16, 12, 1, name) for name in ("00001.jpg", "../../x.jpg")]
    scipy_io.savemat(archive / "devkit/cars_train_annos.mat", {"annotations": np.array(rows, LAYOUT)[None]})
    with pytest.raises(ValueError, match=r"Stanford Cars must name files in .*Received: '\.\./\.\./x\.jpg'"):
        cars196(archive)


def test_missing_files_and_images(tmp_path, archive):
    with pytest.raises(FileNotFoundError, match=r"(?s)cars_train_annos\.mat.*dead.*devkit/") as error:
        cars196(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in str(error.value)
    (archive / "cars_train/00004.jpg").unlink()
    with pytest.warns(UserWarning, match="test half"), pytest.raises(FileNotFoundError, match=r"1 are absent.*00004"):
        cars196(archive)


@pytest.mark.parametrize("depth", ["", "2.1.0", "cars196/2.1.0"])
def test_folder_prepared_by_tensorflow_datasets(tmp_path, write_image, depth):
    folder = tmp_path / depth
    folder.mkdir(parents=True, exist_ok=True)
    jpeg = open(write_image(tmp_path / "one.jpg"), "rb").read()  # noqa: SIM115
    for half, labels in (("train", [0, 98]), ("test", [97, 195])):
        with tf.io.TFRecordWriter(str(folder / f"cars196-{half}.tfrecord-00000-of-00001")) as writer:
            for label in labels:
                features = {
                    "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[jpeg])),
                    "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
                    "image/filename": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"x"])),
                }
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())
    (folder / "label.labels.txt").write_text("\n".join(f"Car {n}" for n in range(196)))
    train, test = cars196(tmp_path)
    assert sorted(train.labels.tolist()) == [0, 97]
    assert sorted(test.labels.tolist()) == [98, 195]
    assert train.class_names[97] == "Car 97"
    images = next(iter(image_batches(test.inputs, 8)))
    np.testing.assert_array_equal(images[0], image_loader(8)(str(tmp_path / "one.jpg")))


def test_real_data(real_data):
    with pytest.warns(UserWarning, match="lacks the test half"):
        train, test = cars196(real_data("cars196"))
    assert (len(train), len(test)) == (4052, 4092)
    assert np.unique(train.labels).tolist() == list(range(98))
    assert np.unique(test.labels).tolist() == list(range(98, 196))
    assert train.class_names[0] == "AM General Hummer SUV 2000"
