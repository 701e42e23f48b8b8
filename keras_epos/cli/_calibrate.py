"""`keras-epos calibrate`."""

import json
from pathlib import Path

import click
import numpy as np

import keras_epos
from keras_epos.cli._embedding import embed_images
from keras_epos.cli._files import MODEL, image_size_of, labeled_images, load_model, replace

RATE = click.FloatRange(0, 1, min_open=True, max_open=True)


@click.command(short_help="Choose the similarity below which a search says unknown.")
@click.argument("model", type=MODEL)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--false-accept-rate", type=RATE, help="Share of unknown queries that may be accepted.")
@click.option("--precision", type=RATE, help="Share of accepted queries that must be right, instead.")
@click.option("--gallery", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Gallery to keep it.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="A .json file to keep it.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the curve into this file.")
@click.option("--image-size", type=click.IntRange(1), help="Side in pixels, for a model of any size.")
def calibrate(model, folder, false_accept_rate, precision, gallery, output, plot, image_size):
    """Choose a threshold on the images of FOLDER/<class>/, classes that MODEL was not trained on.

    Each class plays the unknown one in turn, so the rates are those of a gallery of about the size of FOLDER. Pass a
    rate of false accepts or a precision; too few images for it are refused, with the number that it takes.
    """
    images = labeled_images(folder)
    loaded = load_model(model)
    opened = gallery and keras_epos.Gallery.load(gallery, loaded)
    embeddings, rows, bad = embed_images(loaded, images.inputs, image_size_of(loaded, image_size))
    if bad:
        click.echo(f"{len(bad)} images cannot be read and are left out.", err=True)
    labels = np.array(images.class_names)[images.labels[rows]]
    threshold = keras_epos.calibrate(embeddings, labels, false_accept_rate=false_accept_rate, precision=precision)
    click.echo(threshold)
    if output:
        replace(output, lambda path: path.write_text(json.dumps(threshold.get_config())))
    if plot:
        replace(plot, threshold.plot)
    if opened is not None:
        opened.threshold = threshold
