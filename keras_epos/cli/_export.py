"""`keras-epos export`."""

from pathlib import Path

import click

import keras_epos
from keras_epos.cli._card import known_of
from keras_epos.cli._files import MODEL, SOURCE, image_size_of, images_in, load_model

FORMATS = ("savedmodel", "onnx", "openvino", "litert")


@click.command(short_help="Write a model for servers and other engines, and check it there.")
@click.argument("model", type=MODEL)
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="Folder of the exports.")
@click.option("--format", "formats", type=click.Choice(FORMATS), multiple=True, help="One or several; default all.")
@click.option("--photographs", type=SOURCE, help="Images to check with: a folder, or a list of paths.")
@click.option("--gallery", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Gallery to serve.")
@click.option("--image-size", type=click.IntRange(1), help="Side in pixels, for a model of any size.")
def export(model, output, formats, photographs, gallery, image_size):
    """Write MODEL for TensorFlow Serving, ONNX Runtime, OpenVINO and LiteRT.

    Each file is loaded by its engine and compared with the model right after writing. What cannot be written here is
    said and passed over. A card of the model, README.md, tells what was found.

    With --gallery the SavedModel also answers searches in it, and says "unknown" where the gallery has a threshold.
    """
    loaded = load_model(model)
    paths = images_in(photographs)[:256] if photographs else None
    report = keras_epos.export(
        loaded,
        output,
        formats or FORMATS,
        image_size=image_size_of(loaded, image_size),
        photographs=paths,
        card=known_of(model.parent),
        gallery=gallery and keras_epos.Gallery.load(gallery, loaded),
    )
    click.echo(report)
