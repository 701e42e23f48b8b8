"""`keras-epos evaluate`."""

import json
from pathlib import Path

import click

from keras_epos import retrieval
from keras_epos.cli._embedding import embed_images
from keras_epos.cli._files import MODEL, image_size_of, labeled_images, load_model


class Ranks(click.ParamType):
    name = "integers"

    def convert(self, value, param, ctx):
        if not isinstance(value, str):
            return value
        try:
            return tuple(int(part) for part in value.split(","))
        except ValueError:
            self.fail("must be integers with commas between, such as 1,2,4,8", param, ctx)


@click.command(short_help="Measure how well a model finds a class again.")
@click.argument("model", type=MODEL)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-k", "ranks", type=Ranks(), default="1,2,4,8", show_default=True, help="Ranks of Recall@K.")
@click.option("--image-size", type=click.IntRange(1), help="Side in pixels, for a model of any size.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON instead of a table.")
def evaluate(model, folder, ranks, image_size, as_json):
    """How well MODEL finds images of the same class again, among those of FOLDER/<class>/.

    Every image is searched among all others. Images that cannot be read are left out and counted.
    """
    images = labeled_images(folder)
    loaded = load_model(model)
    embeddings, rows, bad = embed_images(loaded, images.inputs, image_size_of(loaded, image_size))
    found = retrieval.evaluate(embeddings, images.labels[rows], k=ranks)
    found |= {"images": len(rows), "unreadable": len(bad)}
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, value in found.items():
        click.echo(f"{name:<22}{value:>9.2%}" if isinstance(value, float) else f"{name:<22}{value:>8,}")
