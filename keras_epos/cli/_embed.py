"""`keras-epos embed`."""

import hashlib
from pathlib import Path

import click
import numpy as np

from keras_epos._file_states import file_states
from keras_epos.cli._embedding import Parts, embed_images, tell_unreadable
from keras_epos.cli._files import MODEL, SOURCE, image_size_of, images_in, load_model, replace


@click.command(short_help="Embed images: a .npy or .parquet file.")
@click.argument("model", type=MODEL)
@click.argument("source", type=SOURCE)
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="A .npy or .parquet file.")
@click.option("--image-size", type=click.IntRange(1), help="Side in pixels, for a model of any size.")
def embed(model, source, output, image_size):
    """Embed all images of SOURCE with MODEL, a .keras file.

    SOURCE is a folder, whose images are found at any depth, or a text file with one path a line. A .npy file holds
    one row for each image that can be read, float32, and their paths stand in <name>.paths.txt in the same order. A
    .parquet file has the columns `path` and `embedding`. What cannot be read is listed in <name>.unreadable.txt, with
    the reason.

    A job that was stopped or killed goes on with the same command, and its result is the same.
    """
    if output.suffix not in (".npy", ".parquet"):
        raise ValueError(f"--output must end in .npy or .parquet. Received: {output}")
    write = WRITERS[output.suffix]()
    paths = images_in(source)
    job = [hashlib.sha256(model.read_bytes()).hexdigest(), image_size, list(file_states(paths))]
    loaded = load_model(model)
    size = image_size_of(loaded, image_size)
    is_there = output.exists()
    parts = Parts(output.with_name(f"{output.name}.unfinished"), job)
    if is_there and not parts.is_begun:
        parts.remove()
        raise ValueError(
            f"--output must be a file that is not there. Received: {output}. Remove it, or choose another."
        )
    if parts.is_begun:
        click.echo("Going on with what was done before.", err=True)
    embeddings, rows, bad = embed_images(loaded, paths, size, parts)
    tell_unreadable(bad, paths, output.with_suffix(".unreadable.txt"))
    write(output, [paths[row] for row in rows], embeddings)
    parts.remove()
    click.echo(f"{output}: {len(embeddings):,} embeddings of {embeddings.shape[1]} dimensions")


def _numpy():
    def write(output, paths, embeddings):
        replace(output.with_suffix(".paths.txt"), lambda path: path.write_text("".join(f"{one}\n" for one in paths)))

        def save(path):
            with open(path, "wb") as file:
                np.save(file, embeddings)

        replace(output, save)

    return write


def _parquet():
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError("A .parquet file needs pyarrow: pip install pyarrow. Or write a .npy file.") from error

    def write(output, paths, embeddings):
        values = pyarrow.array(embeddings.reshape(-1))
        vectors = pyarrow.FixedSizeListArray.from_arrays(values, embeddings.shape[1])
        rows = pyarrow.table({"path": [str(path) for path in paths], "embedding": vectors})
        replace(output, lambda path: parquet.write_table(rows, path))

    return write


# Made before the work begins, so that what is missing is told at once.
WRITERS = {".npy": _numpy, ".parquet": _parquet}
