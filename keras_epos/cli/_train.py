"""`keras-epos train`."""

import json
import sys
from pathlib import Path

import click
import keras
import numpy as np

import keras_epos
from keras_epos import retrieval
from keras_epos.cli._embedding import embed_images
from keras_epos.cli._files import replace
from keras_epos.data import balanced_batches, image_batches, image_loader, unreadable
from keras_epos.data.datasets import image_folder
from keras_epos.training import freeze_first_layers, start_head, warm_cosine_adamw
from keras_epos.training._backbone import load_backbone


@click.command(short_help="Train embeddings on a folder of photographs.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), required=True, help="Folder of the run; it must be new."
)
@click.option(
    "--backbone", default="EfficientNetV2B0", show_default=True, help=".keras file or keras.applications name."
)
@click.option("--embedding-dim", type=click.IntRange(2), default=512, show_default=True, help="Fewer if features are.")
@click.option("--image-size", type=click.IntRange(8), default=192, show_default=True, help="Side in pixels.")
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True)
@click.option("--classes", type=click.IntRange(2), default=10, show_default=True, help="Classes of a batch.")
@click.option("--samples", type=click.IntRange(2), default=8, show_default=True, help="Images of each in a batch.")
@click.option(
    "--hold-out",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.25,
    show_default=True,
    help="Share of the classes that do not train: they choose the weights, and tell how good these are.",
)
@click.option("--seed", type=int, default=0, show_default=True)
def train(folder, output, backbone, embedding_dim, image_size, epochs, classes, samples, hold_out, seed):
    """Train embeddings on the photographs of FOLDER/<class>/, ten or more of each class.

    The settings are those of examples/train_cars.py: NT-Xent with easy positives, AdamW, a head that starts from the
    backbone's features, the first layers kept. A quarter of the classes is never trained on. They choose the weights
    between start and end of training that find such classes best, so the result is not worse than the start for them.
    Their Recall@1, printed at the end, is that of the choice, and a little too good for classes to come.

    The run's folder gets model.keras, which holds its image size, and metrics.json.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"--output must be a folder that is new or empty. Received: {output}.")
    training, held_out = readable(image_folder(folder, test_classes=hold_out)[:2])
    for name, split in (("to train", training), ("held out", held_out)):
        if len(split) == 0 or np.bincount(split.labels).max() < 2 or len(set(split.labels.tolist())) < 2:
            raise ValueError(
                f"FOLDER must hold two classes or more {name}, one of them with two images. Received: {len(split)} "
                f"images of {len(set(split.labels.tolist()))} classes {name}. Change --hold-out, or add classes."
            )
        click.echo(f"{len(split):,} images of {len(set(split.labels.tolist())):,} classes {name}")
    keras.utils.set_random_seed(seed)
    batches = balanced_batches(
        training.inputs,
        training.labels,
        min(classes, len(set(training.labels.tolist()))),
        samples,
        load=image_loader(image_size, augment="crop_flip"),
        seed=seed,
        on_error="skip",
    )
    model = new_model(backbone, embedding_dim, image_size)
    start_head(model, image_batches(training.inputs, image_size))
    steps = epochs * len(batches)
    model.compile(
        warm_cosine_adamw(1e-3, steps),
        loss=keras_epos.NTXentLoss(0.05, positives="easy"),
        backbone_optimizer=warm_cosine_adamw(4e-4, steps),
    )
    before = measure(model, held_out, image_size)
    images = image_batches(held_out.inputs, image_size)
    recall = keras_epos.RecallAtK(images, held_out.labels, k=(1,), metrics="recall", baseline={"start": before})
    choice = keras_epos.BestInterpolation(
        keras_epos.RecallAtK(images, held_out.labels, k=(1,), metrics="recall"), shares=(0, 0.25, 0.5, 0.75, 1)
    )
    verbose = 1 if sys.stdout.isatty() else 2
    history = model.fit(batches, epochs=epochs, callbacks=[recall, choice], shuffle=False, verbose=verbose).history
    after = measure(model, held_out, image_size)
    output.mkdir(parents=True, exist_ok=True)
    replace(output / "model.keras", model.save)
    record = {"before": before, "after": after, "share": choice.share, "history": history}
    record["settings"] = {"image_size": image_size, "backbone": str(backbone), "epochs": epochs, "seed": seed}
    replace(output / "metrics.json", lambda path: path.write_text(json.dumps(record, indent=1)))
    click.echo(
        f"\nRecall@1 of the classes held out: {before['recall@1']:.1%} at the start, {after['recall@1']:.1%} chosen"
    )
    click.echo(output / "model.keras")


def new_model(backbone, embedding_dim, image_size):
    if not backbone.endswith(".keras") and not hasattr(keras.applications, backbone):
        load_backbone(backbone)  # raises, and says what there is
    inputs = keras.Input((image_size, image_size, 3), name="image")
    loaded = load_backbone(backbone)
    freeze_first_layers(loaded, 0.3)
    # The image size goes with the model, so that nobody has to remember it.
    fixed = keras.Model(inputs, loaded(inputs), name=f"{loaded.name}_{image_size}")
    dim = min(embedding_dim, fixed.output_shape[-1])
    return keras_epos.EmbeddingModel(fixed, dim, freeze_batch_norm=True)


def readable(splits):
    """The splits without the images that cannot be read, which are named."""
    found = []
    for split in splits:
        bad = unreadable(split.inputs)
        for place, reason in bad.items():
            click.echo(f"left out: {split.inputs[place]}: {' '.join(reason.split())}", err=True)
        found.append(split.take(~np.isin(np.arange(len(split)), list(bad))))
    return found


def measure(model, split, image_size):
    embeddings, rows, _ = embed_images(model, split.inputs, image_size)
    return retrieval.evaluate(embeddings, split.labels[rows], k=(1,))
