"""Files of a gallery: written once, with their size and SHA-256, and never changed."""

import contextlib
import hashlib
import os
import threading
from pathlib import Path

import numpy as np

from keras_epos.gallery._storage import AT_ONCE

_LOCK = threading.Lock()


class Written:
    """A binary file that is being written, and hashed on the way."""

    def __init__(self, file):
        self._file, self._hash, self.size = file, hashlib.sha256(), 0

    def write(self, data):
        data = memoryview(data).cast("B")
        self._file.write(data)
        self._hash.update(data)
        self.size += data.nbytes

    def entry(self, name):
        return {"name": name, "size": self.size, "sha256": self._hash.hexdigest()}


@contextlib.contextmanager
def written(path):
    """A `Written` that is on the disk, and not only in the system's memory, when the block ends."""
    with open(path, "xb") as file:
        yield Written(file)
        file.flush()
        os.fsync(file.fileno())


def write_array(file, parts, shape, dtype):
    """Write a `.npy` file of the arrays `parts`, one below the other."""
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for part in parts:
        file.write(np.ascontiguousarray(part, dtype))


def read_array(path, shape, dtype):
    """A `.npy` file as an array in the file itself, read as far as it is used."""
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise damaged(path, f"it is no array ({error})") from error
    if values.shape != shape or values.dtype != dtype:
        raise damaged(path, f"it holds {values.dtype} {values.shape} and not {np.dtype(dtype)} {shape}")
    # A plain array in the same memory: `np.memmap` makes every slice an object that knows its file.
    return np.asarray(values).view(np.ndarray)


def check(folder, entry, verify):
    """The path of a file that the manifest names, which is there and as it was written."""
    path = Path(folder) / entry["name"]
    if not path.is_file():
        raise damaged(path, "it is missing", FileNotFoundError)
    if path.stat().st_size != entry["size"]:
        raise damaged(path, f"it has {path.stat().st_size} bytes and not {entry['size']}")
    if verify:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != entry["sha256"]:
            raise damaged(path, "its SHA-256 is not that in the manifest")
    return path


def damaged(path, what, kind=ValueError):
    return kind(
        f"The gallery cannot be loaded: {path} is damaged, {what}. Restore this file from a copy of the folder."
    )


def _read_at(file, buffer, offset):
    """The number of bytes that were read from a place of a file that many threads and processes may share."""
    if hasattr(os, "preadv"):
        return os.preadv(file.fileno(), [buffer], offset)
    # On Windows, where no process inherits the position of the file.
    with _LOCK:
        file.seek(offset)
        return file.readinto(buffer)


class FileRows:
    """Float32 rows `(N, D)` in a file, read a few at a time and never held."""

    def __init__(self, file, offset, num_rows, dim):
        self._file, self._offset = file, offset
        self._num_rows, self._dim = self.shape = num_rows, dim

    @classmethod
    def of(cls, path, num_rows, dim):
        values = read_array(path, (num_rows, dim), np.float32)
        return cls(open(path, "rb", buffering=0), path.stat().st_size - values.nbytes, num_rows, dim)

    def __len__(self):
        return self._num_rows

    def __getitem__(self, index):
        if isinstance(index, slice):
            start, stop, _ = index.indices(self._num_rows)
            rows = np.empty((stop - start, self._dim), np.float32)
            self._read(rows, start)
            return rows
        # Each row once, in the order of the file, and neighbors in one go.
        index, places = np.unique(index, return_inverse=True)
        rows = np.empty((len(index), self._dim), np.float32)
        cuts = np.flatnonzero(np.diff(index) != 1) + 1
        for first, last in zip([0, *cuts], [*cuts, len(index)], strict=True):
            self._read(rows[first:last], index[first])
        return rows[places.reshape(-1)]

    def _read(self, rows, start):
        buffer, offset = memoryview(rows).cast("B"), self._offset + int(start) * 4 * self._dim
        while buffer:
            count = _read_at(self._file, buffer, offset)
            if not count:
                raise OSError(f"The rows of the gallery end early in {self._file.name}.")
            buffer, offset = buffer[count:], offset + count

    def parts(self):
        """Yields all rows, some at a time."""
        step = max(1, AT_ONCE // (4 * self._dim))
        for start in range(0, self._num_rows, step):
            yield self[start : start + step]
