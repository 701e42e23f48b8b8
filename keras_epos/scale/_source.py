"""What is to be embedded, as rows of Parquet files, in parts that are the same whenever they are planned."""

import hashlib
import json
import os
from pathlib import Path

from keras_epos._file_states import file_states
from keras_epos.data.datasets._image_folder import image_files
from keras_epos.gallery._shards import replace

# Columns that are handed on, beside the images; `bytes` is not.
_KEPT = ("id", "path", "label")


class Source:
    """Parquet files with a column `path` or `bytes`, and `id`, which may be missing where there are paths.

    Args:
        files: Paths of them, in order.
        counts: Rows of each.
        digest: What tells this source from another.

    Attributes:
        num_rows: In all files.
    """

    def __init__(self, files, counts, digest):
        self.files, self._counts, self.digest = [os.path.abspath(file) for file in files], counts, digest
        self.num_rows = sum(counts)
        if not self.num_rows:
            raise ValueError("`source` must have images. Received: a source with none.")

    @classmethod
    def of_files(cls, files):
        from pyarrow import parquet

        stats = [os.stat(file) for file in files]
        counts = []
        for file in files:
            with parquet.ParquetFile(file) as opened:
                counts.append(opened.metadata.num_rows)
                _check_columns(file, opened.schema_arrow)
        rows = zip(files, stats, strict=True)
        return cls(files, counts, _digest([str(file), one.st_size, one.st_mtime_ns] for file, one in rows))

    def prepare(self, size):
        """Write what must be there before the parts are read. A row group has the size of a part."""

    def parts(self, size):
        """`(number, file, start, stop)` of each part: `size` rows that follow each other in a file, or the last."""
        spans = [
            (file, start, min(start + size, count))
            for file, count in zip(self.files, self._counts, strict=True)
            for start in range(0, count, size)
        ]
        return [(number, *span) for number, span in enumerate(spans)]


def read(file, start, stop):
    """Rows of a file, a `pyarrow.Table` of the columns that count."""
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetFile(file) as opened:
        groups, first, skipped = [], 0, 0
        for number in range(opened.num_row_groups):
            count = opened.metadata.row_group(number).num_rows
            if first + count <= start:
                skipped += count
            elif first < stop:
                groups.append(number)
            first += count
        present = [name for name in (*_KEPT, "bytes") if name in opened.schema_arrow.names]
        table = opened.read_row_groups(groups, present).slice(start - skipped, stop - start)
    if "id" not in table.column_names:
        table = table.append_column("id", table["path"])
    if table["id"].null_count:
        raise ValueError(f"`source` must have an id in every row. Received: null in rows {start} to {stop} of {file}.")
    # Large strings and dictionaries become plain ones.
    is_integer = pa.types.is_integer(table["id"].type)
    place = table.column_names.index("id")
    return table.set_column(place, "id", table["id"].cast(pa.int64() if is_integer else pa.string()))


class ListedSource(Source):
    """Paths, which are kept in a Parquet file of the job's folder."""

    def __init__(self, paths, folder):
        super().__init__([folder / "source.parquet"], [len(paths)], _digest(file_states(paths)))
        _check_unique(paths)
        _check_text(paths)
        self._paths = paths

    def prepare(self, size):
        if not os.path.exists(self.files[0]):
            replace(Path(self.files[0]), lambda path: _write_list(path, self._paths, size))


def open_source(source, folder):
    """The `Source` of what the caller of `keras_epos.scale.embed` passed, whose job has this folder."""
    if isinstance(source, (list, tuple)):
        return ListedSource([os.fsdecode(path) for path in source], folder)
    if not isinstance(source, (str, os.PathLike)):
        raise _wrong(source)
    source = Path(source)
    files = [source] if source.suffix == ".parquet" else sorted(source.glob("*.parquet")) if source.is_dir() else None
    if files:
        return Source.of_files(files)
    try:
        lines = image_files(source) if source.is_dir() else source.read_text("utf-8-sig").splitlines()
    except (UnicodeDecodeError, FileNotFoundError) as error:
        raise _wrong(source) from error
    return ListedSource([line for line in lines if line.strip()], folder)


def _wrong(source):
    return ValueError(
        "`source` must be paths, a folder of images or of Parquet files, a Parquet file, or a text file with one path "
        f"a line. Received: source={source!r}."
    )


def _check_unique(paths):
    seen = set()
    twice = next((path for path in paths if path in seen or seen.add(path)), None)
    if twice is not None:
        raise ValueError(f"`source` must have every path once. Received: {twice!r} more than once.")


def _check_text(paths):
    strange = next((path for path in paths if not path.isascii() and _is_no_text(path)), None)
    if strange is not None:
        raise ValueError(
            f"`source` must have paths in UTF-8, as Parquet keeps no others. Received: {strange!r}. Rename that file, "
            "or embed from a Parquet file with its `bytes`."
        )


def _is_no_text(path):
    """Whether a path has bytes that stand for no letters, which Python keeps as halves of pairs."""
    return any("\ud800" <= letter <= "\udfff" for letter in path)


def _check_columns(file, schema):
    import pyarrow as pa

    if "bytes" not in schema.names and "path" not in schema.names:
        raise ValueError(
            f"`source` must have a column `path` or `bytes`. Received: {file} with the columns {schema.names}."
        )
    own = "id" if "id" in schema.names else "path"
    for name in (own, *(["label"] if "label" in schema.names else [])):
        kind = schema.field(name).type if name in schema.names else pa.null()
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
            raise ValueError(
                f"`source` must have a column `{name if name == 'label' else 'id'}` of strings or integers, or `path` "
                f"in the place of ids. Received: {file} with the columns {schema.names}, {name} of type {kind}."
            )


def _write_list(place, paths, size):
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"id": paths, "path": [os.path.abspath(path) for path in paths]})
    parquet.write_table(table, place, row_group_size=size)


def _digest(rows):
    found = hashlib.sha256()
    for row in rows:
        found.update(json.dumps(row).encode() + b"\n")
    return found.hexdigest()
