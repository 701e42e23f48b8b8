"""A folder of embeddings in Parquet files, the shards, each of which is there whole or not at all."""

import json
import os
import secrets
from pathlib import Path

import numpy as np

from keras_epos.gallery._items import objects

# What a file of Parquet says about itself, and what stands for no label.
_KEY = b"keras_epos"
_ENDING = ".unfinished"


class Shards:
    """The embeddings that `keras_epos.scale.embed` has written. Needs `pip install keras-epos[ray]`, or pyarrow alone.

    The folder holds `job.json` and `shards/part-00000000.parquet` and so on, whose rows stand in the order of the
    source: the columns that the source has but for `bytes`, `id` among them; `embedding`, a list of `dim` float32 or
    float16; and `error`, why an image cannot be read, whose embedding is null.

    Args:
        folder: The `output` of `embed`.

    Attributes:
        folder: `pathlib.Path`.
        fingerprint: Of the model, as `keras_epos.Gallery` has it.
        dim: Length of the embeddings.
        files: Paths of the shards, in order.

    Raises:
        ValueError: for a folder of something else, and for a job that has not come to its end.

    Examples:
        >>> shards = keras_epos.scale.Shards("embedded")  # doctest: +SKIP
        >>> for ids, embeddings, labels in shards:  # doctest: +SKIP
        ...     gallery.add(embeddings, ids, labels, fingerprint=shards.fingerprint)
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        job = read_job(self.folder)
        if job is None:
            raise ValueError(
                f"`folder` must be one that keras_epos.scale.embed has written. Received: folder={str(folder)!r}, "
                "without a job.json."
            )
        self.fingerprint = job["model"]
        self.files = [path_of(self.folder, number) for number in range(job["parts"])]
        is_there = names_in(self.folder)
        absent = [path.name for path in self.files if path.name not in is_there]
        if absent:
            raise ValueError(
                f"`folder` must hold all parts of its job. Received: folder={str(folder)!r}, in which {len(absent)} of "
                f"{job['parts']} are missing, {absent[0]} first. Call keras_epos.scale.embed again: it goes on."
            )
        about = [_about(path) for path in self.files]
        self._rows = sum(one["rows"] for one in about)
        self.num_unreadable = sum(one["unreadable"] for one in about)
        self.dim = about[0]["dim"]
        strange = next((k for k, one in enumerate(about) if (one["job"], one["number"]) != (job["job"], k)), None)
        if strange is not None or self._rows != job["rows"]:
            what = f"{self._rows} rows for {job['rows']}" if strange is None else f"another {self.files[strange].name}"
            raise ValueError(
                f"`folder` must hold the shards of its job, each in its place. Received: folder={str(folder)!r} with "
                f"{what}. Remove that file, or embed into an empty folder."
            )

    def __len__(self):
        """Rows, those without an embedding included."""
        return self._rows

    def __repr__(self):
        return (
            f"<Shards of {len(self)} rows in {len(self.files)} files, dim={self.dim}, {self.num_unreadable} unreadable>"
        )

    def __iter__(self):
        """Yields `(ids, embeddings, labels)` of each shard, without what could not be read; labels may be `None`."""
        for path in self.files:
            yield rows_of(path)

    def unreadable(self):
        """A dict of the id of each image that could not be read to the reason."""
        from pyarrow import compute

        found = {}
        for path in self.files if self.num_unreadable else ():
            table = _read(path, ["id", "error"])
            table = table.filter(compute.is_valid(table["error"]))
            found |= dict(zip(table["id"].to_pylist(), table["error"].to_pylist(), strict=True))
        return found


def rows_of(path):
    """`(ids, embeddings, labels)` of the rows of a shard that have an embedding; ids are int64 or objects."""
    from pyarrow import compute

    table = _read(path)
    table = table.filter(compute.is_null(table["error"]))
    ids = table["id"].combine_chunks()
    vectors = table["embedding"].combine_chunks()
    dim = vectors.type.list_size
    embeddings = vectors.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
    labels = table["label"].to_pylist() if "label" in table.column_names else None
    is_integer = str(ids.type) == "int64"
    return ids.to_numpy() if is_integer else objects(ids.to_pylist()), embeddings, labels


def ids_of(path):
    """The ids of `rows_of`."""
    from pyarrow import compute

    table = _read(path, ["id", "error"])
    ids = table.filter(compute.is_null(table["error"]))["id"].combine_chunks()
    return ids.to_numpy() if str(ids.type) == "int64" else objects(ids.to_pylist())


def write(folder, number, columns, embeddings, errors, job):
    """Write the shard of a part, in one step.

    Args:
        columns: A `pyarrow.Table` with `id`.
        embeddings: `(N, dim)`, of any value where there is an error.
        errors: `None`, or why an image cannot be read, `(N,)`.
        job: The name of the job.
    """
    import pyarrow as pa
    from pyarrow import parquet

    is_bad = np.array([error is not None for error in errors], bool)
    dim = embeddings.shape[1]
    values = pa.array(np.ascontiguousarray(embeddings).reshape(-1))
    vectors = pa.FixedSizeListArray.from_arrays(values, dim, mask=pa.array(is_bad))
    columns = columns.append_column("error", pa.array(list(errors), pa.string())).append_column("embedding", vectors)
    about = {"number": number, "rows": len(embeddings), "unreadable": int(is_bad.sum()), "dim": dim, "job": job}
    columns = columns.replace_schema_metadata({_KEY: json.dumps(about)})
    replace(path_of(folder, number), lambda path: parquet.write_table(columns, path, use_dictionary=False))


def replace(target, write):
    """Let `write(path)` write a file beside its place, and rename it when it is on the disk."""
    beside = target.with_name(f".{target.name}-{secrets.token_hex(8)}{_ENDING}")
    try:
        write(beside)
        with open(beside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def begin(folder, job):
    """Make the folder of a job, or go on in that of the same job.

    Args:
        job: Dictionary of what the job depends on, with `model`, `rows`, `parts` and `job`, its name.

    Raises:
        ValueError: for the folder of another job, or one with other files.
    """
    found = read_job(folder)
    if found is None:
        (folder / "shards").mkdir(parents=True, exist_ok=True)
        if names_in(folder):
            raise ValueError(f"`output` must be an empty folder. Received: output={str(folder)!r}, which holds shards.")
        replace(folder / "job.json", lambda path: path.write_text(json.dumps(job, indent=1) + "\n"))
        return
    different = [name for name in job if name != "job" and found.get(name) != job[name]]
    if different:
        raise ValueError(
            f"`output` must be the folder of this job, or a new one. Received: output={str(folder)!r}, which was begun "
            f"with another {' and another '.join(different)}. Choose another folder."
        )


def read_job(folder):
    """What `begin` has written, or `None`."""
    path = folder / "job.json"
    return json.loads(path.read_text()) if path.exists() else None


def names_in(folder):
    """Names of the shards that are there."""
    try:
        with os.scandir(folder / "shards") as entries:
            return {entry.name for entry in entries if entry.name.endswith(".parquet")}
    except FileNotFoundError:
        return set()


def path_of(folder, number):
    return Path(folder) / "shards" / f"part-{number:08d}.parquet"


def remove_leftovers(folder):
    """Remove what killed workers have left, when no other can be at work."""
    for path in (folder / "shards").glob(f".*{_ENDING}"):
        path.unlink(missing_ok=True)


def _read(path, columns=None):
    from pyarrow import parquet

    # Not `read_table`, which would look for partitions in the names of folders.
    return parquet.ParquetFile(path).read(columns)


def _about(path):
    from pyarrow import parquet

    about = (parquet.read_schema(path).metadata or {}).get(_KEY)
    if about is None:
        raise ValueError(f"`folder` must hold shards of keras_epos.scale.embed. Received: {path}, which is none.")
    return json.loads(about)
