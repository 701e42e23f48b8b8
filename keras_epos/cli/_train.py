"""`keras-epos train`."""

import hashlib
import json
import sys
from pathlib import Path

import click
import keras
import numpy as np

import keras_epos
from keras_epos import Gallery, retrieval
from keras_epos._file_states import file_states
from keras_epos.cli._card import write_card
from keras_epos.cli._embedding import Parts, embed_images
from keras_epos.cli._files import load_model, replace
from keras_epos.cli._run import START, Run
from keras_epos.data import balanced_batches, image_batches, image_loader, unreadable
from keras_epos.data.datasets import image_folder
from keras_epos.data.datasets._image_folder import image_files
from keras_epos.retrieval._goals import goal_of
from keras_epos.training import freeze_first_layers, start_head, warm_cosine_adamw
from keras_epos.training._backbone import load_backbone


@click.command(short_help="Train embeddings on a folder of photographs.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--output", "--out", "-o", "output", type=click.Path(path_type=Path), required=True, help="Folder of the run."
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
@click.option(
    "--false-accept-rate",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Share of unknown queries that a search of the gallery may accept.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--restart", is_flag=True, help="Begin anew where there is a run already.")
def train(folder, output, restart, **options):
    """Train embeddings on the photographs of FOLDER/<class>/, ten or more of each class.

    The settings are those of examples/train_cars.py: NT-Xent with easy positives, AdamW, a head that starts from the
    backbone's features, the first layers kept. A quarter of the classes is never trained on. They choose the weights
    between start and end of training that find such classes best, so the result is not worse than the start for them.
    Their Recall@1, printed at the end, is that of the choice, and a little too good for classes to come. They also
    choose the threshold from which on a search accepts.

    The run's folder gets model.keras, which holds its image size; a gallery of all photographs with the threshold; a
    card, README.md; and metrics.json. A run that was stopped or killed goes on after its last epoch with the same
    command, and its result is the same. A finished one stays as it is.
    """
    run = Run(output, {**options, **inputs_of(folder, options["backbone"])}, restart)
    if run.record["finished"]:
        click.echo(f"{output} is finished. To train it once more, pass --restart.")
        return
    splits = readable(image_folder(folder, test_classes=options["hold_out"])[:2])
    for name, split in zip(("to train", "held out"), splits, strict=True):
        if len(split) == 0 or np.bincount(split.labels).max() < 2 or len(set(split.labels.tolist())) < 2:
            raise ValueError(
                f"FOLDER must hold two classes or more {name}, one of them with two images. Received: {len(split)} "
                f"images of {len(set(split.labels.tolist()))} classes {name}. Change --hold-out, or add classes."
            )
        click.echo(f"{len(split):,} images of {len(set(split.labels.tolist())):,} classes {name}")
    if "after" not in run.record:
        fit(run, *splits, options)
    found = run.record
    click.echo(
        f"\nRecall@1 of the classes held out: {found['before']['recall@1']:.1%} at the start, "
        f"{found['after']['recall@1']:.1%} chosen"
    )
    index_run(run, *splits, options)
    run.finish()
    for name in ("model.keras", "gallery", "README.md"):
        click.echo(output / name)


def inputs_of(folder, backbone):
    """What a run depends on beside its options: the backend and the files that it reads."""
    paths = image_files(folder)
    if backbone.endswith(".keras"):
        paths = [*paths, Path(backbone)]
    name = hashlib.sha256(json.dumps(list(file_states(paths))).encode()).hexdigest()
    return {"photographs": name, "backend": keras.backend.backend()}


def fit(run, training, held_out, options):
    """Train, or go on; leaves model.keras, and its measures in the record."""
    size, epochs, seed = options["image_size"], options["epochs"], options["seed"]
    keras.utils.set_random_seed(seed)
    dataset = balanced_batches(
        training.inputs,
        training.labels,
        min(options["classes"], len(set(training.labels.tolist()))),
        options["samples"],
        load=image_loader(size, augment="crop_flip"),
        seed=seed,
        on_error="skip",
    )
    steps = len(dataset)

    def build():
        model = new_model(options["backbone"], options["embedding_dim"], size)
        start_head(model, image_batches(training.inputs, size))
        model.compile(
            warm_cosine_adamw(1e-3, epochs * steps),
            loss=keras_epos.NTXentLoss(0.05, positives="easy"),
            backbone_optimizer=warm_cosine_adamw(4e-4, epochs * steps),
        )
        model.optimizer.build(model.trainable_variables)  # Keras warns of a file without its variables
        return model

    model = run.start(build)
    if "before" not in run.record:
        run.write(before=measure(model, held_out, size))
    images = image_batches(held_out.inputs, size)
    recall = keras_epos.RecallAtK(
        images, held_out.labels, k=(1,), metrics="recall", baseline={"start": run.record["before"]}
    )
    choice = keras_epos.BestInterpolation(
        keras_epos.RecallAtK(images, held_out.labels, k=(1,), metrics="recall"),
        shares=(0, 0.25, 0.5, 0.75, 1),
        start=run.folder / START,
    )
    history = model.fit(
        dataset,
        epochs=epochs,
        callbacks=[run.resume(dataset), recall, choice],
        shuffle=False,
        verbose=1 if sys.stdout.isatty() else 2,
    ).history
    found = [dict(zip(history, map(float, values), strict=True)) for values in zip(*history.values(), strict=True)]
    replace(run.folder / "model.keras", model.save)
    run.write(epochs=found, share=choice.share, after=measure(model, held_out, size))


def index_run(run, training, held_out, options):
    """Leaves gallery, threshold and card of a model that is trained."""
    model = keras.saving.load_model(run.folder / "model.keras", compile=False)
    size, rate = options["image_size"], options["false_accept_rate"]
    paths = [*training.inputs, *held_out.inputs]
    parts = Parts(run.folder / "gallery.unfinished", run.record["settings"])
    embeddings, rows, _ = embed_images(model, paths, size, parts)
    labels = np.concatenate([training.labels, held_out.labels])[rows]
    is_held_out = rows >= len(training)
    threshold, words = threshold_of(embeddings, labels, is_held_out, rate)
    click.echo(words)
    if threshold is not None:
        replace(run.folder / "threshold.json", lambda path: path.write_text(json.dumps(threshold.get_config())))
    gallery = Gallery(model, threshold=threshold)
    gallery.add(
        embeddings,
        [str(paths[row]) for row in rows],
        [training.class_names[label] for label in labels],
        [{"split": "held out" if held else "trained"} for held in is_held_out.tolist()],
        fingerprint=gallery.fingerprint,
    )
    gallery.save(run.folder / "gallery")
    num_classes = len(set(training.labels.tolist()))
    known = {
        "data": f"{len(training)} photographs",
        "classes": f"{num_classes} classes to train, and {len(set(held_out.labels.tolist()))} held out",
        "training": {"loss": "NT-Xent with easy positives", **run.record["settings"]},
        "figures": {
            "Recall@1 of the classes held out, at the start": run.record["before"]["recall@1"],
            "Recall@1 of the classes held out": run.record["after"]["recall@1"],
        },
    }
    write_card(run.folder, model, (size, size, 3), embeddings, known, words)
    parts.remove()


def threshold_of(embeddings, labels, is_held_out, rate):
    """The threshold for a gallery of these embeddings, or `None`; and what is to be said about it.

    Every second one of the classes held out plays an unknown one and is left out of the gallery. The others are
    searched among themselves and all classes of the training.
    """
    classes = np.unique(labels[is_held_out])[::2]
    is_unknown = np.isin(labels, classes)
    ids, needed = np.arange(len(labels)), goal_of(rate, None, 0.5).fewest
    if is_unknown.sum() < needed or len(classes) < 2:
        return None, (
            f"No threshold could be promised: {rate:.3g} of unknown queries can be measured on {needed} "
            f"photographs or more of two classes or more, and those held out for it are {is_unknown.sum()} of "
            f"{len(classes)}. Add photographs or classes, raise --hold-out, or allow a larger --false-accept-rate. A "
            "search finds without it, and does not say what is unknown."
        )
    try:
        threshold = keras_epos.calibrate(
            embeddings[is_held_out],
            labels[is_held_out],
            embeddings[~is_unknown],
            labels[~is_unknown],
            false_accept_rate=rate,
            ids=ids[is_held_out],
            gallery_ids=ids[~is_unknown],
        )
    except ValueError as error:
        return None, f"No threshold could be promised: {error}"
    return threshold, str(threshold)


def new_model(backbone, embedding_dim, image_size):
    if not backbone.endswith(".keras") and not hasattr(keras.applications, backbone):
        load_backbone(backbone)  # raises, and says what there is
    inputs = keras.Input((image_size, image_size, 3), name="image")
    loaded = load_model(backbone, "--backbone") if backbone.endswith(".keras") else load_backbone(backbone)
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
