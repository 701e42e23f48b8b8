"""Train, evaluate and export an embedding of Cars196: the main job, end to end.

Zero-shot retrieval: train on car models 1-98, then find photographs of models 99-196, none of which was seen.
Without the data set the same pipeline runs on the 4,000 images that come with the package, once with easy and
once with all positives, in two or three minutes.
"""

import argparse
import inspect
import json
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from journal import Journal
from plots import draw_curves, draw_neighbours, print_table, recall_curve

import keras_epos
from keras_epos.data import balanced_batches, image_batches, random_crop, random_flip, symmetric_noise

EXAMPLES = """examples:
  python examples/train_cars.py                                        embedded sample, easy against all positives
  python examples/train_cars.py --data-dir data/cars196                Cars196, EfficientNetV2B0 from ImageNet
  python examples/train_cars.py --data-dir data/cars196 --backbone b.keras --positives all --out runs/all
  python examples/train_cars.py --data-dir data/cars196 --resume       go on after the last complete epoch
"""
K = (1, 2, 4, 8)


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=Help)
    data = parser.add_argument_group("data and output")
    data.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="folder with cars_train/ and devkit/ of Stanford Cars"
    )
    data.add_argument(
        "--out", type=Path, metavar="DIR", help="metrics, pictures, checkpoint; runs/<data set> if not given"
    )
    data.add_argument("--export", type=Path, metavar="DIR", help="SavedModel; saved_models/<data set> if not given")
    data.add_argument("--resume", action="store_true", help="go on with the run in --out after its last epoch")
    train = parser.add_argument_group("training")
    train.add_argument("--epochs", type=int, metavar="N", help="passes over the training images; 40, sample 20")
    train.add_argument("--batch", metavar="PxK", help="classes x samples of each in a batch; 10x8, sample 4x32")
    train.add_argument("--label-noise", type=float, metavar="SHARE", help="wrong training labels; 0, sample 0.1")
    train.add_argument("--seed", type=int, default=0, metavar="N", help="of everything random")
    model = parser.add_argument_group("model, on Cars196")
    model.add_argument(
        "--backbone", default="EfficientNetV2B0", metavar="NAME", help=".keras file or keras.applications"
    )
    model.add_argument("--embedding-dim", type=int, default=512, metavar="N", help="dimensions of the embeddings")
    model.add_argument("--freeze", type=float, default=0.3, metavar="SHARE", help="first layers of the backbone kept")
    model.add_argument("--mixed-precision", choices=("float16", "bfloat16"), help="compute the network in half floats")
    loss = parser.add_argument_group("loss, on Cars196")
    names = sorted(keras_epos.losses.LOSSES)
    loss.add_argument("--loss", choices=names, default="nt_xent", metavar="NAME", help=", ".join(names))
    loss.add_argument("--positives", choices=("easy", "all", "hard", "random"), default="easy", help="what pulls")
    loss.add_argument("--easy-k", type=int, default=1, metavar="N", help="nearest positives an anchor is pulled to")
    strategies = ("all", "hard", "semi_hard", "distance_weighted", "random")
    loss.add_argument(
        "--negatives", choices=strategies, metavar="NAME", help=f"{', '.join(strategies)}; as the loss has it"
    )
    loss.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="other arguments of the loss")
    tuning = parser.add_argument_group("images and optimizer, on Cars196")
    tuning.add_argument("--image-size", type=int, default=128, metavar="PIXELS", help="in training")
    tuning.add_argument("--test-size", type=int, default=192, metavar="PIXELS", help="in evaluation and export")
    tuning.add_argument(
        "--smallest-crop", type=float, default=0.5, metavar="SHARE", help="of the image, in random crops"
    )
    tuning.add_argument("--learning-rate", type=float, default=4e-4, metavar="RATE", help="of the backbone, by AdamW")
    tuning.add_argument("--head-learning-rate", type=float, default=1e-3, metavar="RATE", help="of the dense layer")
    tuning.add_argument("--weight-decay", type=float, default=1e-2, metavar="RATE", help="of AdamW")
    tuning.add_argument("--evaluate-every", type=int, default=5, metavar="EPOCHS", help="for the curve only")
    return parser.parse_args(arguments)


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Text as written, and the default behind every option that has one."""

    def _get_help_string(self, action):
        is_worth_telling = isinstance(action.default, (int, float, str)) and action.default is not False
        return super()._get_help_string(action) if is_worth_telling else action.help


def main():
    args = parse_arguments()
    warnings.formatwarning = lambda message, *_: f"note: {message}\n"
    keras.utils.set_random_seed(args.seed)
    try:
        if args.data_dir is None:
            refuse_what_the_sample_ignores(args)
            print("Cars196 is not at hand: running on the 4,000 images of clothes that come with the package.")
            print("To get Cars196, see README.md#cars196, then pass --data-dir FOLDER.\n")
            run_sample(args)
        else:
            run_cars(args)
    except KeyboardInterrupt:
        print("\nStopped. The last complete epoch is kept; the same command with --resume goes on from there.")
        sys.exit(130)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")


def run_cars(args):
    split = keras_epos.datasets.cars196(args.data_dir)
    print(f"Cars196: {len(split.train)} photographs to train, {len(split.test)} of unseen car models to test")
    folder, epochs = args.out or Path("runs/cars196"), args.epochs or 40
    journal = Journal(folder, settings(args), args.resume)
    classes, samples = batch_shape(args.batch or "10x8")
    steps = len(split.train) // (classes * samples)
    batches = balanced_batches(
        decoded(split.train, args.test_size, "training"),
        symmetric_noise(split.train.labels, args.label_noise or 0.0, args.seed),
        classes,
        samples,
        load=crop_flip_resize(args.image_size, args.smallest_crop),
        seed=args.seed,
        steps=steps,
        start_step=len(journal.history) * steps,
    )
    test_images = decoded(split.test, args.test_size, "test")
    test = image_batches(test_images, args.test_size, load=lambda image: tf.cast(image, "float32"))

    model = journal.model_to_resume
    if model is None:
        policy = args.mixed_precision and f"mixed_{args.mixed_precision}"
        model = keras_epos.EmbeddingModel(args.backbone, args.embedding_dim, freeze_batch_norm=True, dtype=policy)
        freeze(model.backbone, args.freeze)
        model.compile(
            adamw(args.head_learning_rate, args.weight_decay, steps * epochs),
            loss=keras_epos.losses.get(args.loss, **loss_settings(args, split.train.labels)),
            backbone_optimizer=adamw(args.learning_rate, args.weight_decay, steps * epochs),
        )
        journal.before = measure(model, test, split.test.labels)
    recall = keras_epos.RecallAtK(test, split.test.labels, k=K, metrics="recall", every=args.evaluate_every)
    train(model, batches, epochs, recall, journal)

    after = measure(model, test, split.test.labels)
    journal.write(after=after)
    print_table({"before training": journal.before, "after": after})
    curves = {f"{args.positives} positives": recall_curve(journal.before, journal.history)}
    draw_curves(folder / "curve.png", curves, "Recall@1 on unseen car models")
    embeddings = model.predict(test, verbose=0)
    draw_examples(folder / "neighbours.png", embeddings, test_images, split.test.labels, split.test.class_names)
    finish(model, folder, args.export or Path("saved_models/cars196"), args.test_size)


def run_sample(args):
    split = keras_epos.datasets.fashion_sample()
    folder, epochs = args.out or Path("runs/fashion_sample"), args.epochs or 20
    noise = 0.1 if args.label_noise is None else args.label_noise
    noisy = symmetric_noise(split.train.labels, noise, args.seed)
    classes, samples = batch_shape(args.batch or "4x32")
    images, test_images = (part.inputs[..., None].astype("float32") for part in split)
    print(f"To learn: 4 coarse classes, {noise:.0%} of their labels wrong. To find again: the 10 kinds they hide.\n")
    rows, curves = {}, {}
    for positives in ("all", "easy"):
        print(f"Each anchor is pulled to {'its nearest positive' if positives == 'easy' else 'all its positives'}:")
        keras.utils.set_random_seed(args.seed)
        journal = Journal(folder / positives, settings(args), args.resume and (folder / positives).exists())
        model = journal.model_to_resume
        if model is None:
            model = keras_epos.EmbeddingModel(small_network(), embedding_dim=64)
            model.compile(keras.optimizers.Adam(1e-3), loss=keras_epos.TripletLoss(positives=positives))
            journal.before = measure(model, test_images, split.test)
        steps = len(images) // (classes * samples)
        start = len(journal.history) * steps
        batches = balanced_batches(images, noisy, classes, samples, seed=args.seed, steps=steps, start_step=start)
        train(
            model,
            batches,
            epochs,
            keras_epos.RecallAtK(test_images, split.test.modes, k=(1,), metrics="recall"),
            journal,
        )
        after = measure(model, test_images, split.test)
        journal.write(after=after)
        rows |= {"before training": journal.before, f"{positives} positives": after}
        curves[f"{positives} positives"] = recall_curve(journal.before, journal.history, "kind R@1")
    print_table(rows)
    draw_curves(folder / "curve.png", curves, "Recall@1 of the hidden kinds")
    embeddings = model.predict(test_images, verbose=0)
    draw_examples(folder / "neighbours.png", embeddings, test_images, split.test.modes, split.test.mode_names)
    finish(model, folder, args.export or Path("saved_models/fashion_sample"))


def refuse_what_the_sample_ignores(args):
    used = {"data_dir", "out", "export", "resume", "epochs", "batch", "label_noise", "seed"}
    defaults = vars(parse_arguments([]))
    ignored = [f"--{key.replace('_', '-')}" for key, value in vars(args).items() if value != defaults[key]]
    ignored = [option for option in ignored if option[2:].replace("-", "_") not in used]
    if ignored:
        raise ValueError(
            f"`--data-dir` must be given with {', '.join(ignored)}, which the embedded sample does not use."
        )


def settings(args):
    unimportant = {"data_dir", "out", "export", "resume", "evaluate_every"}
    return {key: value if value is None else str(value) for key, value in vars(args).items() if key not in unimportant}


def batch_shape(text):
    try:
        classes, samples = (int(part) for part in text.split("x"))
    except ValueError:
        raise ValueError(f"`--batch` must be classes x samples, such as 10x8. Received: {text}") from None
    return classes, samples


def loss_settings(args, labels):
    chosen = {"temperature": 0.05} if args.loss == "nt_xent" else {}
    takes = inspect.signature(keras_epos.losses.LOSSES[args.loss]).parameters
    if "positives" in takes:
        chosen["positives"] = keras_epos.Easy(args.easy_k) if args.positives == "easy" else args.positives
    if takes.get("num_classes") and takes["num_classes"].default is inspect.Parameter.empty:
        chosen["num_classes"] = int(labels.max()) + 1
    if args.negatives:
        chosen["negatives"] = args.negatives
    for setting in args.set:
        name, _, value = setting.partition("=")
        chosen[name] = json.loads(value) if value[:1] in "-.0123456789" else value
    return chosen


def decoded(split, size, what):
    """All images as one uint8 array: they are decoded once, not once an epoch."""
    batches = image_batches(split.inputs, size, batch_size=256)
    images = np.empty((len(split), size, size, 3), np.uint8)
    print(f"Decoding the {what} images")
    progress = keras.utils.Progbar(len(split), unit_name="image", verbose=sys.stdout.isatty())
    for start, batch in zip(range(0, len(split), 256), batches, strict=True):
        images[start : start + 256] = np.round(batch.numpy())
        progress.update(start + len(batch))
    return images


def crop_flip_resize(size, smallest_crop):
    crop, flip = random_crop(scale=(smallest_crop, 1.0)), random_flip()

    def load(image, seed):
        return tf.image.resize(flip(crop(image, seed), seed), (size, size), antialias=True)

    return load


def freeze(backbone, share):
    """Keep the first layers of an ImageNet backbone: edges and textures need no training, and it is quicker."""
    layers = innermost(backbone)
    for layer in layers[: round(share * len(layers))]:
        layer.trainable = False


def innermost(layer):
    inside = getattr(layer, "layers", None)
    return [leaf for part in inside for leaf in innermost(part)] if inside else [layer]


def adamw(learning_rate, weight_decay, steps):
    warmup = min(100, steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup, alpha=0.02, warmup_target=learning_rate, warmup_steps=warmup
    )
    return keras.optimizers.AdamW(schedule, weight_decay=weight_decay)


def small_network():
    layers = [keras.Input((28, 28, 1)), keras.layers.Rescaling(1 / 255)]
    for filters in (32, 64, 128):
        layers.append(keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu"))
    return keras.Sequential([*layers, keras.layers.Flatten()])


def train(model, batches, epochs, recall, journal):
    model.fit(
        batches,
        epochs=epochs,
        initial_epoch=len(journal.history),
        callbacks=[recall, journal],
        shuffle=False,  # the batches come in their own random order
        verbose=1 if sys.stdout.isatty() else 2,
    )


def measure(model, images, targets):
    """Measures of the test images: by their labels, or, for a split with modes, by label and by mode."""
    embeddings = model.predict(images, verbose=0)
    if isinstance(targets, np.ndarray):
        return keras_epos.retrieval.evaluate(embeddings, targets, k=K)
    found = {"class": targets.labels, "kind": targets.modes}
    return {
        f"{name} R@1": keras_epos.retrieval.evaluate(embeddings, labels, k=(1,))["recall@1"]
        for name, labels in found.items()
    }


def draw_examples(path, embeddings, images, labels, names):
    # One query each of eight classes, spread over them.
    classes = np.unique(labels)
    queries = [np.flatnonzero(labels == classes[i])[0] for i in np.linspace(0, len(classes) - 1, 8).astype(int)]
    queries = np.array(queries)
    _, found = keras_epos.retrieval.nearest(embeddings, k=6)
    draw_neighbours(path, lambda rows: images[rows], labels, queries, found[queries], names)


def finish(model, folder, export, image_size=None):
    version = keras_epos.export_savedmodel(model, export, image_size=image_size)
    print(f"metrics and pictures  {folder}\nSavedModel            {version}")


if __name__ == "__main__":
    main()
