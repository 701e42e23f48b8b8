"""`keras-epos pack`."""

from pathlib import Path

import click

from keras_epos.cli._embedding import tell_unreadable
from keras_epos.cli._files import labeled_images
from keras_epos.data._records import FORMATS
from keras_epos.data._write_shards import write_each


@click.command(short_help="Put a folder of photographs into shards.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), required=True, help="Folder of the shards, to be made."
)
@click.option("--format", type=click.Choice(list(FORMATS)), default="arrayrecord", show_default=True)
@click.option("--records", type=click.IntRange(1), default=4096, show_default=True, help="Photographs of a shard.")
def pack(folder, output, format, records):
    """Copy the photographs of FOLDER/<class>/ into a few large files, each of which can be read in any order.

    From a disk or a network drive they are read sooner than as many small files. A program reads them by
    keras_epos.datasets.shard_folder in the place of image_folder. Their bytes stay as they are. Those that cannot be
    decoded are left out and listed beside the shards.

    A job that was stopped or killed goes on with the same command, and its result is the same. The folder of the shards
    appears when it is whole.
    """
    images = labeled_images(folder)
    paths = [str(path) for path in images.inputs]
    stderr = click.get_text_stream("stderr")
    try:
        with click.progressbar(length=len(paths), label=f"{len(paths):,} photographs", file=stderr) as progress:
            bad = write_each(output, paths, images.labels, images.class_names, format, records, progress.update)
    except ImportError as error:
        raise ValueError(str(error)) from error
    tell_unreadable(bad, paths, output.with_name(f"{output.name}.unreadable.txt"))
    click.echo(f"{output}: {len(paths) - len(bad):,} photographs of {len(images.class_names):,} classes")
