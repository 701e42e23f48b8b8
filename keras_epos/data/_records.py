"""Encoded images in shards, read one by one in any order."""

import concurrent.futures
import importlib
import json
import os
from pathlib import Path

import numpy as np

from keras_epos.data._own_lock import OwnLock

# What reads and writes each format, and what it is called.
FORMATS = {"arrayrecord": ("array_record.python.array_record_data_source", "ArrayRecord files", "array_record")}
FORMATS |= {"tfrecord": ("google_crc32c", "The checksums of TFRecords", "google-crc32c")}
# Files of a folder of shards beside the shards.
ABOUT, LABELS, PATHS, ENDS = "shards.json", "labels.npy", "paths.npy", "ends.npy"
# Reads that wait for the disk at the same time.
_THREADS = 16


class Records:
    """The encoded images of a folder of shards: `len(records)`, and `records[i]`, the bytes of the file that it was.

    A slice, a mask or an array of indices names a part of them, which is `Records` again; nothing is read then.

    It can be sent to another process, where it opens the files anew.

    Args:
        folder: Of `write_shards`.
        rows: Indices `(n,)` of those that are meant, or `None` for all.

    Attributes:
        folder: The folder, a `pathlib.Path`.
        paths: List of the paths that the images had when they were written.

    Raises:
        ValueError: If the folder is no such one.
        ImportError: If what reads its format is not installed.
    """

    def __init__(self, folder, rows=None):
        self.folder, self._rows = Path(folder), rows
        about = read_about(folder)
        self._names, counts = zip(*about["shards"], strict=True)
        self._firsts = np.cumsum([0, *counts])
        self._engine = engine_of(about["format"])
        self._ends = np.load(self.folder / ENDS, mmap_mode="r") if about["format"] == "tfrecord" else None
        self._source = None
        self._opening = OwnLock()
        self._readers = concurrent.futures.ThreadPoolExecutor(_THREADS)

    def __len__(self):
        return int(self._firsts[-1]) if self._rows is None else len(self._rows)

    @property
    def paths(self):
        paths = np.load(self.folder / PATHS, mmap_mode="r")
        return [os.fsdecode(path) for path in paths[slice(None) if self._rows is None else self._rows]]

    def __getitem__(self, rows):
        if not isinstance(rows, (int, np.integer)):
            return Records(self.folder, (np.arange(len(self)) if self._rows is None else self._rows)[rows])
        if not -len(self) <= rows < len(self):
            raise IndexError(f"There are {len(self)} records. Received: index {rows}.")
        return self.read([int(rows) % len(self)])[0]

    def read(self, rows):
        """The bytes of several records, a list, read side by side.

        Raises:
            ValueError: If one is damaged or not there: which.
        """
        rows = rows if self._rows is None else self._rows[rows].tolist()
        return [self._read(rows[0])] if len(rows) == 1 else list(self._readers.map(self._read, rows))

    def _read(self, row):
        shard = int(np.searchsorted(self._firsts, row, side="right")) - 1
        place = row - int(self._firsts[shard])
        path = self.folder / self._names[shard]
        try:
            if self._ends is not None:
                return read_tf_record(path, int(self._ends[row - 1]) if place else 0, int(self._ends[row]))
            return self._array_records()[row]
        except (OSError, RuntimeError, ValueError) as error:
            # Engines put their stack into the message.
            raise ValueError(
                f"Record {place} of {path} must be whole. Received: {' '.join(str(error).split())[:300]}. Write the "
                "shards once more, or copy this file again."
            ) from error

    def _array_records(self):
        with self._opening:
            if self._source is None:
                counts = np.diff(self._firsts).tolist()
                # With their numbers of records the files need not be opened before they are read.
                self._source = self._engine.ArrayRecordDataSource(
                    [f"{self.folder / name}[0:{count}]" for name, count in zip(self._names, counts, strict=True)]
                )
        return self._source

    def __reduce__(self):
        return Records, (self.folder, self._rows)


def read_about(folder):
    """What `shards.json` of a folder says.

    Raises:
        ValueError: If the folder is none of `write_shards`.
    """
    try:
        about = json.loads((Path(folder) / ABOUT).read_text())
        if about["format"] not in FORMATS:
            raise ValueError(f"the format {about['format']!r} is not known")
        return about
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"`data_dir` must be a folder that keras_epos.data.write_shards or `keras-epos pack` wrote. Received: "
            f"{os.fspath(folder)}, in which {ABOUT} cannot be read: {error}"
        ) from error


def read_tf_record(path, begin, end):
    """The data of the TFRecord in the bytes from `begin` to `end` of a file.

    The layout is the length, uint64, its checksum, uint32, the data, and their checksum, all little-endian.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If they are no whole record.
    """
    with open(path, "rb", buffering=0) as file:
        file.seek(begin)
        found = file.read(end - begin)
    data = found[12:-4]
    if len(found) != end - begin or found[:12] != head_of(len(data)) or found[-4:] != checksum(data):
        raise ValueError(f"bytes {begin} to {end} of the file are no TFRecord whose checksums are right")
    return data


def head_of(length):
    """What stands before the data of a TFRecord."""
    number = length.to_bytes(8, "little")
    return number + checksum(number)


def checksum(data):
    """The masked CRC-32C of TFRecords, 4 bytes."""
    found = engine_of("tfrecord").value(data)
    return ((found >> 15 | found << 17) + 0xA282EAD8 & 0xFFFFFFFF).to_bytes(4, "little")


def engine_of(format):
    """The module that reads a format or checks it.

    Raises:
        ImportError: If it is not installed.
    """
    module, what, package = FORMATS[format]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{what} need {package}: `pip install keras-epos[grain]`. (There is no array_record for Windows: "
            "write TFRecords there.)"
        ) from error
