"""From photographs in files to shards."""

import contextlib
import hashlib
import importlib
import json
import os
import shutil
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np

from keras_epos._checks import integer, one_of
from keras_epos._file_states import file_states
from keras_epos.data._images import fault_of
from keras_epos.data._records import ABOUT, ENDS, FORMATS, LABELS, PATHS, checksum, engine_of, head_of

# Files in memory at once.
_FILES = 64


def write_shards(output, inputs, labels, class_names, *, format="arrayrecord", records=4096):
    """Copy photographs into a few large files, from which each can be read alone.

        split = keras_epos.datasets.stanford_online_products("Stanford_Online_Products").train
        keras_epos.data.write_shards("sop.shards", split.inputs, split.labels, split.class_names)
        train, _ = keras_epos.datasets.shard_folder("sop.shards", test_classes=0)

    A disk or a network drive gives many images of a few large files sooner than as many small files. The bytes of a
    file are one record, unchanged. The folder appears when it is whole. A call that was stopped or killed goes on after
    its last whole shard when it is made again, and its result is the same; a finished one is left as it is.

    The labels are in `labels.npy` and the paths in `paths.npy`, so that batches can be drawn without reading a record.
    `ends.npy` has the place in its file where each TFRecord ends.

    Args:
        output: Folder to make.
        inputs: N paths of images that `image_loader` reads.
        labels: Integers `(N,)`, places in `class_names`.
        class_names: List of names.
        format: "arrayrecord" or "tfrecord". Neither needs TensorFlow, and TensorFlow reads the latter.
        records: Images of a shard.

    Returns:
        dict: The place in `inputs` of each image that cannot be decoded and so is left out, and why.

    Raises:
        ValueError: If an argument is out of range, no image can be decoded, or `output` is there already or begun, with
            other arguments or other photographs.
        ImportError: If what writes the format is not installed: `pip install keras-epos[grain]`.
    """
    return write_each(output, inputs, labels, class_names, format, records, lambda number: None)


def write_each(output, inputs, labels, class_names, format, records, tell):
    """`write_shards`, which calls `tell` with the number of images of each shard that is done."""
    engine_of(one_of("format", format, FORMATS))
    integer("records", records, least=1)
    output, paths = Path(output).expanduser(), [os.fspath(path) for path in inputs]
    labels = _checked_labels(labels, len(paths), class_names)
    work = output.with_name(f"{output.name}.unfinished")
    job = _job([format, records, list(class_names), hashlib.sha256(labels).hexdigest(), file_states(paths)])
    if not output.exists():
        _write_all(work, job, paths, labels, class_names, format, records, tell)
        os.rename(work / "shards", output)
    about = json.loads((output / ABOUT).read_text()) if (output / ABOUT).exists() else {}
    if about.get("job") != job:
        raise ValueError(
            f"`output` must be a folder to make. Received: {output}, which is there already, and not from this call."
        )
    shutil.rmtree(work, ignore_errors=True)
    return {int(place): why for place, why in about["left_out"].items()}


def _write_all(work, job, paths, labels, class_names, format, records, tell):
    """Make the folder `work / "shards"`, or go on with it."""
    with contextlib.suppress(FileNotFoundError):
        if json.loads((work / "job.json").read_text()) != job:
            raise ValueError(
                f"{work} holds shards of another job: other photographs, or another setting. Remove it, or choose "
                "another output."
            )
    (work / "shards").mkdir(parents=True, exist_ok=True)
    _replace(work / "job.json", job)
    number = -(-len(paths) // records)
    notes = []
    for shard in range(number):
        first = shard * records
        file = work / "shards" / f"images-{shard:05d}-of-{number:05d}.{format}"
        notes.append(_write_one(file, work / f"{shard:05d}.json", paths[first : first + records], format))
        tell(min(records, len(paths) - first))
    bad = {shard * records + int(row): why for shard, note in enumerate(notes) for row, why in note["bad"].items()}
    if len(bad) == len(paths):
        shutil.rmtree(work)
        raise ValueError(f"`inputs` must be images. Received: {len(paths)} of which none is; {paths[0]}: {bad[0]}")
    kept = np.setdiff1d(np.arange(len(paths)), list(bad))
    np.save(work / "shards" / LABELS, labels[kept])
    np.save(work / "shards" / PATHS, np.array([os.fsencode(paths[row]) for row in kept]))
    if format == "tfrecord":
        np.save(work / "shards" / ENDS, np.concatenate([np.array(note["ends"], np.int64) for note in notes]))
    shards = [[note["file"], note["count"]] for note in notes]
    about = {"format": format, "shards": shards, "class_names": list(class_names), "left_out": bad, "job": job}
    _replace(work / "shards" / ABOUT, about)


def _checked_labels(labels, number, class_names):
    labels = np.array(labels)
    if labels.dtype.kind not in "iu" or labels.shape != (number,) or not number:
        raise ValueError(
            f"`labels` must be one integer for each of the inputs. Received: labels of dtype {labels.dtype} and shape "
            f"{labels.shape}, {number} inputs."
        )
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise ValueError(
            f"`class_names` must have a name for each label. Received: {len(class_names)} names, labels from "
            f"{labels.min()} to {labels.max()}."
        )
    return labels.astype(np.int64)


def _write_one(file, note, paths, format):
    """Write a shard unless it is there; return what is known of it, which stands in the file `note`."""
    with contextlib.suppress(FileNotFoundError):
        return json.loads(note.read_text())
    beside, bad = file.with_name(f"{file.name}.part"), {}
    writer = {"arrayrecord": _ArrayRecordFile, "tfrecord": _TFRecordFile}[format](beside)
    with contextlib.closing(writer), ThreadPool() as pool:
        for first in range(0, len(paths), _FILES):
            for place, (contents, why) in enumerate(pool.map(_read, paths[first : first + _FILES]), first):
                if why:
                    bad[place] = why
                else:
                    writer.write(contents)
    with open(beside, "rb+") as written:
        os.fsync(written.fileno())
    os.replace(beside, file)
    known = {"file": file.name, "count": len(paths) - len(bad), "bad": bad, "ends": writer.ends}
    _replace(note, known)
    return json.loads(note.read_text())


def _read(path):
    """The bytes of a file, or why they are no image."""
    try:
        contents = Path(path).read_bytes()
    except OSError as error:
        return b"", f"{type(error).__name__}: {error.strerror}"
    return contents, fault_of(contents)


class _TFRecordFile:
    def __init__(self, path):
        self._file, self.ends = open(path, "wb"), []  # noqa: SIM115

    def write(self, contents):
        for part in (head_of(len(contents)), contents, checksum(contents)):
            self._file.write(part)
        self.ends.append(self._file.tell())

    def close(self):
        self._file.close()


class _ArrayRecordFile:
    ends = ()

    def __init__(self, path):
        # One image a group, so that each is read alone; images are compressed already.
        module = importlib.import_module("array_record.python.array_record_module")
        self._writer = module.ArrayRecordWriter(str(path), "group_size:1,uncompressed")

    def write(self, contents):
        self._writer.write(contents)

    def close(self):
        self._writer.close()


def _job(parts):
    name = hashlib.sha256()
    for part in parts:
        for entry in part if hasattr(part, "__next__") else [part]:
            name.update(json.dumps(entry).encode())
    return name.hexdigest()


def _replace(path, value):
    """Write a JSON file whole or not at all."""
    beside = path.with_name(f"{path.name}.part")
    with open(beside, "w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
