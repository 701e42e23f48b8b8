"""A job that embeds a source: its parts by Ray Data, each into a shard that appears whole, once."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from keras_epos._checks import integer
from keras_epos.gallery import _shards as shards
from keras_epos.scale._source import open_source, read

# Blocks that Ray keeps account of, at most: more parts than that share them.
_BLOCKS = 10_000


def embed(source, embedder, output, *, part=4096, actors=1, **options):
    """Embed images on a cluster of Ray, into shards of Parquet. Needs `pip install keras-epos[ray]`.

    The source is cut into parts of rows that follow each other, the same ones in every call. Ray Data hands them to
    actors, each of which has loaded the model once, and starts workers that die again. A part becomes one file, which
    is written beside its place and then renamed. So whatever is killed, a worker or the program that called this: the
    same call goes on with the parts that are not there, no row is lost, and none is there twice.

    The rows are those that one process makes. Images that cannot be read keep their row, with a reason in `error`.

    Args:
        source: What to embed, which all workers must see under the same names:

            - a folder of images at any depth, a text file with one path a line, or a list of paths: the ids are the
              paths. The list is kept in the output.
            - a Parquet file, or a folder of them: columns `path` or `bytes` (encoded images), and `id`, unique integers
              or strings; where there are paths, they stand in for missing ids. A column `label` is kept. Row groups of
              about the size of a part are read once only.
        embedder: A `keras_epos.scale.Embedder`, or another picklable function from a batch with `bytes` or `path` to
            one with `embedding` and `error`, which has a `fingerprint`.
        output: Folder to write, or to go on in, see `keras_epos.scale.Shards`. All workers must see it. A folder in
            which files can be renamed; an object store is none.
        part: Rows of a part: what a killed worker has to do again, and a file of `4 part dim` bytes.
        actors: How many, each with a model; or `(least, most)`, for a pool that grows and shrinks.
        options: What else `ray.data.Dataset.map_batches` takes: `num_gpus=1`, `num_cpus=4`, `runtime_env`, ...

    Returns:
        `keras_epos.scale.Shards`, checked for every row of the source being there once.

    Raises:
        ImportError: without Ray, where there is something to do.
        ValueError: for a source of another form or without images, and for the folder of another job: of other images,
            another model, image size or dtype, or another size of the parts.

    Examples:
        >>> embedder = keras_epos.scale.Embedder("birds.keras")  # doctest: +SKIP
        >>> keras_epos.scale.embed("photos", embedder, "embedded", actors=8, num_gpus=1)  # doctest: +SKIP
        <Shards of 1000000 rows in 245 files, dim=128, 12 unreadable>
    """
    integer("part", part, 1)
    pool = [integer("actors", one, 1) for one in np.atleast_1d(actors).tolist()]
    if len(pool) > 2 or pool[0] > pool[-1]:
        raise ValueError(f"`actors` must be an integer or (least, most). Received: actors={actors!r}.")
    if not callable(embedder) or not isinstance(getattr(embedder, "fingerprint", None), str):
        raise ValueError(
            "`embedder` must be a keras_epos.scale.Embedder, or a function with a `fingerprint`. Received: embedder of "
            f"type {type(embedder).__name__}."
        )
    output = Path(output).absolute()
    source = open_source(source, output)
    parts = source.parts(part)
    job = {
        "model": embedder.fingerprint,
        "image size": _listed(getattr(embedder, "image_size", None)),
        "dtype": getattr(embedder, "dtype", None),
        "source": source.digest,
        "part": part,
        "rows": source.num_rows,
        "parts": len(parts),
    }
    job["job"] = hashlib.sha256(json.dumps(job).encode()).hexdigest()
    done = shards.names_in(output)
    todo = [one for one in parts if shards.path_of(output, one[0]).name not in done]
    run = _by_ray() if todo else None
    shards.begin(output, job)
    source.prepare(part)
    if todo:
        run(todo, _Writer(embedder, output, job["job"]), pool, options)
    shards.remove_leftovers(output)
    return shards.Shards(output)


def _by_ray():
    """A function that has the parts written, or an error before anything is begun."""
    try:
        import ray.data
    except ImportError as error:
        raise ImportError("`embed` needs Ray: `pip install keras-epos[ray]`.") from error

    def run(parts, writer, pool, options):
        names = ("number", "file", "start", "stop")
        rows = [dict(zip(names, part, strict=True)) for part in parts]
        planned = ray.data.from_items(rows, override_num_blocks=min(len(rows), _BLOCKS))
        # A class, which makes actors of it, of which each unpickles the writer once.
        written = planned.map_batches(
            _Actor,
            fn_constructor_args=(writer,),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(min_size=pool[0], max_size=pool[-1]),
            **options,
        )
        for _ in written.iter_batches(batch_size=None):
            pass

    return run


class _Actor:
    """What Ray makes once in each of its workers."""

    def __init__(self, writer):
        self._writer = writer

    def __call__(self, batch):
        for number, file, start, stop in zip(
            *(batch[name] for name in ("number", "file", "start", "stop")), strict=True
        ):
            self._writer(int(number), str(file), int(start), int(stop))
        return {"number": batch["number"]}


class _Writer:
    """Embeds a part and writes its shard, unless that is there: Ray may ask for a part once more.

    Args:
        root: Where relative paths begin: a worker may have another working directory.
    """

    def __init__(self, embedder, output, job):
        self._embedder, self._output, self._job, self._root = embedder, output, job, os.getcwd()

    def __call__(self, number, file, start, stop):
        if shards.path_of(self._output, number).exists():
            return
        table = read(file, start, stop)
        if "bytes" in table.column_names:
            batch = {"bytes": [one or b"" for one in table["bytes"].to_pylist()]}
            table = table.drop_columns("bytes")
        else:
            batch = {"path": [os.path.join(self._root, one) if one else "" for one in table["path"].to_pylist()]}
        found = self._embedder(batch)
        embeddings, errors = np.asarray(found["embedding"]), found["error"]
        if embeddings.ndim != 2 or len(embeddings) != len(table) or len(errors) != len(table):
            raise ValueError(
                f"`embedder` must return one embedding and error for each of {len(table)} images. Received: embeddings "
                f"of shape {embeddings.shape}, {len(errors)} errors."
            )
        is_fine = np.isfinite(embeddings).all(axis=1) | [error is not None for error in errors]
        if not is_fine.all():
            raise ValueError(
                "`embedder` must return finite embeddings, or an error. Received: NaN or infinity in row "
                f"{start + int(np.argmin(is_fine))} of {file}, without one."
            )
        embeddings = embeddings.astype(np.float16 if embeddings.dtype == np.float16 else np.float32)
        shards.write(self._output, number, table, embeddings, errors, self._job)


def _listed(size):
    return None if size is None else [int(side) for side in size]
