"""`keras-epos index`."""

import hashlib
from pathlib import Path

import click

from keras_epos import Gallery
from keras_epos._file_states import file_states
from keras_epos.cli._embedding import Parts, embed_images, tell_unreadable
from keras_epos.cli._files import MODEL, SOURCE, image_size_of, images_in, load_model
from keras_epos.gallery._storage import STORAGES


@click.command(short_help="Make a gallery of images, or add images to one.")
@click.argument("model", type=MODEL)
@click.argument("source", type=SOURCE)
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="Folder of the gallery.")
@click.option("--storage", type=click.Choice(list(STORAGES)), default="float32", show_default=True)
@click.option("--image-size", type=click.IntRange(1), help="Side in pixels, for a model of any size.")
def index(model, source, output, storage, image_size):
    """Embed the images of SOURCE with MODEL and put them into a gallery, which is made if it is not there.

    SOURCE is a folder, whose images are found at any depth, or a text file with one path a line. The id of an image is
    its path. Its label is the name of the folder that it lies in, unless that is SOURCE itself. Images whose path is in
    the gallery already are passed over. Those that cannot be read are listed beside the gallery.

    A job that was stopped or killed goes on with the same command, and the gallery is the old or the new one, never
    something between.
    """
    paths = [str(path) for path in images_in(source)]
    loaded = load_model(model)
    size = image_size_of(loaded, image_size)
    if output.exists():
        gallery = Gallery.load(output, loaded)
        known = set(gallery.ids.tolist())
        paths = [path for path in paths if path not in known]
        if not paths:
            click.echo(f"{output}: all images are in it already, {len(gallery):,} in all")
            return
    else:
        gallery = Gallery(loaded, storage=storage)
    job = [hashlib.sha256(model.read_bytes()).hexdigest(), size, list(file_states(paths))]
    parts = Parts(output.with_name(f"{output.name}.unfinished"), job)
    embeddings, rows, bad = embed_images(loaded, paths, size, parts, may_be_none=len(gallery) > 0)
    tell_unreadable(bad, paths, output.with_name(f"{output.name}.unreadable.txt"))
    chosen = [paths[row] for row in rows]
    root = source if source.is_dir() else None
    if chosen:
        gallery.add(embeddings, chosen, [label_of(path, root) for path in chosen], fingerprint=gallery.fingerprint)
    if gallery.folder is None:
        gallery.save(output)
    parts.remove()
    click.echo(f"{output}: {len(chosen):,} images added, {len(gallery):,} in all")


def label_of(path, root):
    """The name of the folder that an image lies in; an image in `root` itself has its name without the ending."""
    path = Path(path)
    return path.stem if root is not None and path.parent == root else path.parent.name
