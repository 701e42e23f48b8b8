"""A segment of a gallery: rows that were added together, and those of them that were removed."""

import tempfile

import numpy as np

from keras_epos._rows import blocks
from keras_epos.gallery._files import FileRows, Written, check, damaged, read_array, write_array, written
from keras_epos.gallery._items import Items
from keras_epos.gallery._storage import AT_ONCE, STORAGES, as_float32, norms_of

# Small neighbors are joined up to this size, so that a thousand additions of a row do not stay a thousand segments.
JOINED = 2**25
_STORAGE_OF = {kind.dtype: kind for kind in STORAGES.values()}
_ENDING = {"values": "npy", "norms": "npy", "rows": "npy", "removed": "npy", "items": "jsonl"}


class Segment:
    """Rows of a gallery; nothing in it changes.

    Attributes:
        values: The rows as the storage encodes them `(N, width)`.
        norms: What decoded rows are divided by, float64 `(N,)`.
        rows: Float32 `(N, D)` in a file, for storages that are rescored, else `None`.
        items: Their `Items`.
        removed: Booleans `(N,)`, or `None` where no row is removed.
        files: `{part: {"name", "size", "sha256"}}` of the files that hold it, or those of them that are written.
        folder: Where they are, or `None` for a segment in memory.
    """

    def __init__(self, values, norms, rows, items, removed=None, files=None, folder=None):
        self.values, self.norms, self.rows, self.items = values, norms, rows, items
        self.removed, self.files, self.folder = removed, files or {}, folder

    def __len__(self):
        return len(self.norms)

    @classmethod
    def of(cls, parts, num_rows, dim, storage, items):
        """A segment in memory of float32 `parts`, `num_rows` rows in all."""
        storage = STORAGES[storage]
        values = np.empty((num_rows, storage.width(dim)), storage.dtype)
        norms = np.empty(num_rows)
        file = rows = None
        if storage.is_rescored:
            # Without a name: it goes when nobody holds it any more.
            file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
            rows = FileRows(file, 0, num_rows, dim)
        start = 0
        for part in parts:
            place = slice(start, start + len(part))
            values[place] = storage.encode(part)
            norms[place] = norms_of(storage.decode(values[place], dim))
            if file is not None:
                Written(file).write(np.ascontiguousarray(part))
            start += len(part)
        return cls(values, norms, rows, items)

    @classmethod
    def of_rows(cls, rows, storage, items):
        """A segment of `Rows`."""
        return cls.of(as_float32(rows), len(rows), rows.dim, storage, items)

    @classmethod
    def joined(cls, segments, dim, storage):
        """One segment of what is not removed of several, in order; `None` if nothing is left."""
        kept = [segment.kept() for segment in segments]
        num_rows = sum(map(len, kept))
        if not num_rows:
            return None
        step = max(1, AT_ONCE // (4 * dim))
        parts = (
            segment.exact(rows, dim)
            for segment, some in zip(segments, kept, strict=True)
            for rows in blocks(some, step)
        )
        # To encode again what was decoded changes nothing.
        items = Items.joined([segment.items.take(rows) for segment, rows in zip(segments, kept, strict=True)])
        return cls.of(parts, num_rows, dim, storage, items)

    @property
    def size(self):
        """Bytes of the values."""
        return self.values.nbytes

    @property
    def num_kept(self):
        return len(self) - (0 if self.removed is None else int(np.count_nonzero(self.removed)))

    def kept(self):
        return np.arange(len(self)) if self.removed is None else np.flatnonzero(~self.removed)

    def without(self, rows):
        """The same segment with these rows removed too."""
        removed = np.zeros(len(self), bool) if self.removed is None else self.removed.copy()
        removed[rows] = True
        files = {part: entry for part, entry in self.files.items() if part != "removed"}
        return Segment(self.values, self.norms, self.rows, self.items, removed, files, self.folder)

    def exact(self, index, dim):
        """The best float32 rows `(M, D)` that are kept of the rows `index`, an array or a slice; of any norm."""
        if self.rows is not None:
            return self.rows[index]
        return _STORAGE_OF[self.values.dtype].decode(self.values[index], dim)

    def write(self, folder, name):
        """Write what is not in the folder yet into files whose names begin with `name`; return `files` of all parts."""
        files = dict(self.files) if self.folder == folder else {}
        for part in self._parts():
            if part not in files:
                target = f"{name}.{part}.{_ENDING[part]}"
                with written(folder / target) as file:
                    self._write_part(part, file)
                files[part] = file.entry(target)
        return files

    def _parts(self):
        yield from ("values", "norms", "items")
        if self.rows is not None:
            yield "rows"
        if self.removed is not None:
            yield "removed"

    def _write_part(self, part, file):
        if part == "items":
            for line in self.items.lines():
                file.write(line.encode())
        elif part == "rows":
            write_array(file, self.rows.parts(), self.rows.shape, np.float32)
        else:
            values = getattr(self, part)
            step = max(1, AT_ONCE * len(values) // max(1, values.nbytes))
            parts = (values[start : start + step] for start in range(0, len(values), step))
            write_array(file, parts, values.shape, values.dtype)

    @classmethod
    def read(cls, folder, num_rows, dim, storage, files, known, verify):
        """The segment that `write` wrote. Its values stay in their file, and are read when they are used."""
        paths = {part: check(folder, entry, verify) for part, entry in files.items()}
        kind = STORAGES[storage]
        values = read_array(paths["values"], (num_rows, kind.width(dim)), kind.dtype)
        norms = np.array(read_array(paths["norms"], (num_rows,), np.float64))
        rows = FileRows.of(paths["rows"], num_rows, dim) if kind.is_rescored else None
        removed = np.array(read_array(paths["removed"], (num_rows,), bool)) if "removed" in paths else None
        try:
            with open(paths["items"], encoding="utf-8") as lines:
                items = Items.of_lines(lines, known)
        except (ValueError, IndexError, TypeError) as error:
            raise damaged(paths["items"], f"it holds no items ({error})") from error
        if len(items) != num_rows:
            raise damaged(paths["items"], f"it holds {len(items)} rows and not {num_rows}")
        return cls(values, norms, rows, items, removed, files, folder)


def without(segments, pairs):
    """The segments with the rows of the pairs `(segment, row)` removed too; those of which nothing is left are not."""
    of_segment = {}
    for number, row in pairs:
        of_segment.setdefault(number, []).append(row)
    segments = list(segments)
    for number, rows in of_segment.items():
        segments[number] = segments[number].without(rows)
    return segments


def appended(segments, new, dim, storage):
    """The segments and a new one, which small ones before it have joined."""
    first, size, length = len(segments), new.size, len(new)
    while first and segments[first - 1].size + size <= JOINED and len(segments[first - 1]) < 2 * length:
        first -= 1
        size, length = size + segments[first].size, length + len(segments[first])
    if first < len(segments):
        new = Segment.joined([*segments[first:], new], dim, storage)
    return [*segments[:first], new]
