"""Photographs in shards: the same bytes, labels and batches as in files, damaged ones named, killed jobs resumed."""

import importlib
import os
import pickle
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_epos.data import BatchIndices, balanced_batches, image_batches, image_loader, unreadable, write_shards
from keras_epos.data._inputs import UNREADABLE, StoredRows, read_rows
from keras_epos.data._records import FORMATS
from keras_epos.data.datasets import image_folder, shard_folder

NAMES = [f"class {number}" for number in range(4)]
TENSORFLOW = pytest.mark.backend("tensorflow", reason="reads as TensorFlow does")


@pytest.fixture(params=list(FORMATS))
def format(request):
    pytest.importorskip(FORMATS[request.param][0])
    return request.param


@pytest.fixture
def photographs(tmp_path, write_image):
    """The paths of 24 images, six of each class; BMP files of black end in zeros."""
    for number in range(24):
        ending = "bmp" if number == 5 else "png"
        path = write_image(tmp_path / "photos" / NAMES[number // 6] / f"{number:02d}.{ending}", seed=number)
        if number == 5:
            keras.utils.save_img(path, np.zeros((12, 16, 3)), scale=False)
    return image_folder(tmp_path / "photos", test_classes=0).train


def pack(split, output, format, records=10):
    bad = write_shards(output, split.inputs, split.labels, split.class_names, format=format, records=records)
    return bad, shard_folder(output, test_classes=0).train


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def arrays(batches):
    return [[np.asarray(part) for part in batch] for batch in batches]


def damage(folder, path, format):
    """Change a byte in the middle of one photograph, wherever it stands."""
    part = Path(path).read_bytes()[40:80]
    [shard] = [file for file in folder.glob(f"*.{format}") if part in file.read_bytes()]
    shard.write_bytes(shard.read_bytes().replace(part, part[:20] + bytes([part[20] ^ 1]) + part[21:]))
    return shard


def test_every_record_is_its_file(photographs, tmp_path, format):
    bad, split = pack(photographs, tmp_path / "shards", format)
    assert bad == {}
    assert len(list((tmp_path / "shards").glob(f"*.{format}"))) == 3
    np.testing.assert_array_equal(split.labels, photographs.labels)
    assert split.class_names == NAMES
    assert split.inputs.paths == photographs.inputs
    expected = [Path(path).read_bytes() for path in photographs.inputs]
    assert expected[5].endswith(b"\0")
    assert list(split.inputs) == expected
    assert split.inputs[-1] == expected[-1]
    rows = np.array([23, 5, 5, 9, 10])
    assert StoredRows(split.inputs)[rows].tolist() == [expected[row] for row in rows]
    some = split.take(split.labels == 1)
    assert list(some.inputs) == expected[6:12]
    assert list(pickle.loads(pickle.dumps(some.inputs[::2]))) == expected[6:12:2]
    assert some.inputs[[1, 3]].paths == [photographs.inputs[7], photographs.inputs[9]]
    with pytest.raises(IndexError, match="There are 6 records"):
        some.inputs[6]


def test_half_of_the_classes_are_held_out_as_of_a_folder(photographs, tmp_path, format):
    pack(photographs, tmp_path / "shards", format)
    train, test = shard_folder(tmp_path / "shards")
    assert test.inputs.paths == image_folder(tmp_path / "photos").test.inputs
    assert len(train) == 12


def alike(found, expected):
    return all((a == b).all() for one, two in zip(found, expected, strict=True) for a, b in zip(one, two, strict=True))


def test_batches_are_those_of_the_files(photographs, tmp_path):
    pytest.importorskip("google_crc32c")
    _, split = pack(photographs, tmp_path / "shards", "tfrecord")
    load = image_loader((12, 16), augment="crop_flip")
    assert alike(
        arrays(balanced_batches(split.inputs, split.labels, 3, 4, load=load, steps=3)),
        arrays(balanced_batches(photographs.inputs, photographs.labels, 3, 4, load=load, steps=3)),
    )


def test_batches_in_order(photographs, tmp_path, format):
    def length(record):
        if isinstance(record, bytes):
            return np.int32(len(record))
        import tensorflow as tf

        return tf.strings.length(record)

    _, split = pack(photographs, tmp_path / "shards", format)
    found = arrays(image_batches(split.inputs, 8, 10, labels=split.labels, load=length))
    assert [len(y) for _, y in found] == [10, 10, 4]
    sizes, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
    assert sizes.tolist() == [len(record) for record in split.inputs]
    np.testing.assert_array_equal(labels, split.labels)


def test_a_damaged_record_is_named(photographs, tmp_path, format):
    _, split = pack(photographs, tmp_path / "shards", format)
    shard = damage(tmp_path / "shards", photographs.inputs[13], format)
    with pytest.raises(ValueError, match=rf"Record 3 of .*{shard.name} must be whole. Received: .*(hash|checksum)"):
        split.inputs[13]
    assert split.inputs[12] == Path(photographs.inputs[12]).read_bytes()
    found = read_rows(StoredRows(split.inputs), np.array([[12, 13]]))
    assert found.tolist() == [[split.inputs[12], UNREADABLE]]


def test_batches_with_a_damaged_record(photographs, tmp_path):
    pytest.importorskip("google_crc32c")
    _, split = pack(photographs, tmp_path / "shards", "tfrecord")
    shard = damage(tmp_path / "shards", photographs.inputs[13], "tfrecord")
    assert list(unreadable(split.inputs)) == [13]

    def takes_all(record):
        """Would take what stands in the place of the record as well."""
        return keras.ops.ones(3)

    with pytest.raises(Exception, match=rf"input number 13, which gives ValueError: Record 3 of .*{shard.name}"):
        list(image_batches(split.inputs, 8, load=takes_all))
    options = {"load": takes_all, "steps": 2}
    with pytest.raises(Exception, match=rf"input number 13, which gives ValueError: Record 3 of .*{shard.name}"):
        list(balanced_batches(split.inputs, split.labels, 4, 6, **options))
    options |= {"with_ids": True, "on_error": "skip"}
    with pytest.warns(UserWarning, match="Skipped: input number 13 cannot be loaded"):
        found = arrays(balanced_batches(split.inputs, split.labels, 4, 3, **options))
    drawn = np.concatenate([y[:, 1] for _, y in found])
    planned = BatchIndices(split.labels, 4, 3)(np.arange(2)).reshape(-1)
    assert 13 in planned
    assert 13 not in drawn
    np.testing.assert_array_equal(drawn[planned != 13], planned[planned != 13])
    assert set(drawn[planned == 13].tolist()) <= set(range(12, 18)) - {13}


def test_a_file_that_is_gone(photographs, tmp_path, format):
    _, split = pack(photographs, tmp_path / "shards", format)
    next((tmp_path / "shards").glob(f"images-00001*.{format}")).unlink()
    with pytest.raises(ValueError, match=r"Record 0 of .*images-00001-of-00003"):
        split.inputs[10]
    with pytest.raises(ValueError, match=r"must be a folder that keras_epos\.data\.write_shards"):
        shard_folder(tmp_path / "photos")


def test_what_is_no_image_is_left_out_and_told(photographs, tmp_path, format):
    # A text is no path either, even if it names an image.
    Path(photographs.inputs[0]).write_text(photographs.inputs[1])
    os.truncate(photographs.inputs[12], 60)
    bad, split = pack(photographs, tmp_path / "shards", format, records=1)  # two shards are empty
    assert sorted(bad) == [0, 12]
    assert split.inputs.paths == [path for place, path in enumerate(photographs.inputs) if place not in (0, 12)]
    np.testing.assert_array_equal(np.bincount(split.labels), [5, 6, 5, 6])
    assert list(split.inputs) == [Path(path).read_bytes() for path in split.inputs.paths]
    with pytest.raises(ValueError, match=r"must be images. Received: 1 of which none is; .*00\.png"):
        write_shards(tmp_path / "none", photographs.inputs[:1], [0], NAMES, format=format)
    assert not list(tmp_path.glob("none*"))


def test_a_job_goes_on_where_it_stopped(photographs, tmp_path, format, monkeypatch):
    pack(photographs, tmp_path / "whole", format)
    module = importlib.import_module("keras_epos.data._write_shards")
    write_one, begun = module._write_one, []

    def write_two(file, *arguments):
        begun.append(file.name)
        if len(begun) == 3:
            file.with_name(f"{file.name}.part").write_text("half")
            raise KeyboardInterrupt
        return write_one(file, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write_one", write_two)
        with pytest.raises(KeyboardInterrupt):
            pack(photographs, tmp_path / "shards", format)
    assert not (tmp_path / "shards").exists()
    with pytest.raises(ValueError, match="holds shards of another job"):
        pack(photographs, tmp_path / "shards", format, records=9)
    read = []
    with monkeypatch.context() as patch:
        patch.setattr(module, "_read", lambda path, _read=module._read: read.append(path) or _read(path))
        pack(photographs, tmp_path / "shards", format)
    assert sorted(read) == photographs.inputs[20:]
    assert contents(tmp_path / "shards") == contents(tmp_path / "whole")
    assert not list(tmp_path.glob("*.unfinished"))
    monkeypatch.setenv("HOME" if os.name == "posix" else "USERPROFILE", str(tmp_path))
    pack(photographs, "~/shards", format)  # finished, it stays
    with pytest.raises(ValueError, match="`output` must be a folder to make"):
        pack(photographs.take(slice(12)), tmp_path / "shards", format)


def test_arguments(tmp_path, photographs, format):
    paths = photographs.inputs
    for fault, changed in {
        "`labels` must be one integer for each": {"labels": [0]},
        "`class_names` must have a name for each label": {"class_names": NAMES[:3]},
        "`format` must be one of": {"format": "zip"},
        "`records` must be an integer of at least 1": {"records": 0},
    }.items():
        given = {"labels": photographs.labels, "class_names": NAMES, "format": format} | changed
        with pytest.raises(ValueError, match=fault):
            write_shards(tmp_path / "shards", paths, **given)
    assert not list(tmp_path.glob("shards*"))


def test_what_must_be_installed(tmp_path, photographs, format, monkeypatch):
    pack(photographs, tmp_path / "shards", format)
    monkeypatch.setitem(sys.modules, FORMATS[format][0], None)
    for call in (lambda: shard_folder(tmp_path / "shards"), lambda: pack(photographs, tmp_path / "more", format)):
        with pytest.raises(ImportError, match=r"pip install keras-epos\[grain\]"):
            call()


@TENSORFLOW
def test_tensorflow_reads_the_tfrecords(photographs, tmp_path):
    pytest.importorskip("google_crc32c")
    import tensorflow as tf

    pack(photographs, tmp_path / "shards", "tfrecord")
    files = sorted(map(str, (tmp_path / "shards").glob("*.tfrecord")))
    found = list(tf.data.TFRecordDataset(files).as_numpy_iterator())
    assert found == [Path(path).read_bytes() for path in photographs.inputs]
