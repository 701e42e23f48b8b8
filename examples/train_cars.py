"""Train, evaluate and export an embedding of Cars196: the main job, end to end.

Zero-shot retrieval: train on car models 1-98, then find photographs of models 99-196, none of which was seen.
Without the data set the same pipeline runs on the 4,000 images that come with the package, once with easy and
once with all positives, in two or three minutes.
"""

import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from journal import Journal
from plots import draw_curves, draw_neighbors, print_table, recall_curve
from run_folder import free_folder, is_begun, latest_folder, replace
from train_options import make_loss, parse_arguments, settings_of

import keras_epos
from keras_epos.data import balanced_batches, image_batches, random_crop, random_flip, symmetric_noise
from keras_epos.training import start_head, warm_cosine_adamw

K = (1, 2, 4, 8)
START, CHOSEN = "start.keras", "chosen.keras"
SAMPLE = {"data": "fashion_sample", "backbone": "small_network", "embedding_dim": 64, "learning_rate": 3e-4}


def main():
    args = parse_arguments(__doc__)
    warnings.formatwarning = lambda message, *_: f"note: {message}\n"
    try:
        if args.data_dir is None:
            print("Cars196 is not at hand: running on the 4,000 images of clothes that come with the package.")
            print("To get Cars196, see docs/figures.md#cars196, then pass --data-dir FOLDER.\n")
            run_sample(args)
        else:
            run_cars(args)
    except KeyboardInterrupt:
        print("\nStopped. The last complete epoch is kept; the same command with --resume goes on from there.")
        sys.exit(130)
    except (OSError, ValueError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {in_words(error)}")


def in_words(error):
    if not isinstance(error, OSError) or error.filename is None:
        return error
    return (
        f"{error.filename} cannot be read or written: {error.strerror}. What was there before is kept. Once "
        "the cause is gone, the same command with --resume goes on."
    )


def run_cars(args):
    if keras.backend.backend() != "tensorflow":
        raise ValueError("Cars196 must be trained with KERAS_BACKEND=tensorflow, which decodes and resizes the images.")
    split = keras_epos.datasets.cars196(args.data_dir)
    training, held_out = without_last_classes(split.train, args.hold_out)
    print(f"Cars196: {len(training)} photographs to train, {len(split.test)} of unseen car models to test")
    classes, samples = args.batch
    steps = len(training) // (classes * samples)
    keras.utils.set_random_seed(args.seed)  # before the loss, which may mine at random
    loss = make_loss(args, training.labels)
    folder = run_folder(args, "cars196")
    journal = Journal(folder, settings_of(args, loss, data="cars196"), args.resume)
    model = journal.start(lambda: new_model(args, loss, steps * args.epochs))
    images = decoded(training, args.test_size, "training")
    if not journal.history:
        if args.head == "directions":
            start_head(model, image_batches(images, args.test_size, load=as_floats))
        if args.hold_out:
            replace(folder / START, model.save)
    batches = balanced_batches(
        images,
        symmetric_noise(training.labels, args.label_noise, args.seed),
        classes,
        samples,
        load=crop_flip_resize(args.image_size, args.smallest_crop),
        seed=args.seed,
        steps=steps,
        start_step=len(journal.history) * steps,
    )
    test_images = decoded(split.test, args.test_size, "test")
    test = image_batches(test_images, args.test_size, load=as_floats)
    baseline = measure_before(journal, model, test, split.test.labels)
    recall = keras_epos.RecallAtK(
        test, split.test.labels, k=K, metrics="recall", every=args.evaluate_every, baseline=baseline
    )
    rows = {"untrained backbone": baseline["backbone"], "before training": baseline["start"]}
    if args.hold_out:
        choice = best_interpolation(decoded(held_out, args.test_size, "held-out"), held_out.labels, folder)
        measure_end = keras.callbacks.LambdaCallback(
            on_train_end=lambda logs: journal.write(end=measure(model, test, split.test.labels))
        )
        train(model, batches, args.epochs, recall, journal, measure_end, choice)
        journal.write(chosen={"share": choice.share, "held_out": choice.results})
        replace(folder / CHOSEN, model.save)
        rows["end of training"] = journal.measures["end"]
    else:
        train(model, batches, args.epochs, recall, journal)
    after = measure(model, test, split.test.labels)
    journal.write(after=after)

    print_table({**rows, f"after, share {choice.share:g}" if args.hold_out else "after": after})
    curves = {f"{args.positives} positives": recall_curve(baseline["start"], journal.history)}
    levels = {"untrained backbone": baseline["backbone"]["recall@1"]}
    draw_curves(folder / "curve.png", curves, "Recall@1 on unseen car models", levels)
    embeddings = model.predict(test, verbose=0)
    title = f"{args.loss}, {args.positives} positives, epoch {args.epochs}"
    draw_examples(folder / "neighbors.png", embeddings, test_images, split.test, title)
    finish(model, folder, args.export or Path("saved_models/cars196"), args.test_size)


def new_model(args, loss, steps):
    policy = args.mixed_precision and f"mixed_{args.mixed_precision}"
    model = keras_epos.EmbeddingModel(
        args.backbone, args.embedding_dim, freeze_batch_norm=True, dtype=policy, freeze=args.freeze
    )
    model.compile(
        warm_cosine_adamw(args.head_learning_rate, steps, args.weight_decay),
        loss=loss,
        backbone_optimizer=warm_cosine_adamw(args.learning_rate, steps, args.weight_decay),
    )
    return model


def run_sample(args):
    split = keras_epos.datasets.fashion_sample()
    folder = run_folder(args, "fashion_sample", ("all", "easy"))
    noisy = symmetric_noise(split.train.labels, args.label_noise, args.seed)
    classes, samples = args.batch
    images, test_images = (part.inputs[..., None].astype("float32") for part in split)
    steps = len(images) // (classes * samples)
    print(f"To learn: 4 coarse classes, {args.label_noise:.0%} of their labels wrong.")
    print("To find again: the 10 kinds they hide.\n")
    rows, curves = {}, {}
    for positives in ("all", "easy"):
        print(f"Each anchor is pulled to {'its nearest positive' if positives == 'easy' else 'all its positives'}:")
        loss = keras_epos.BinomialDevianceLoss(positives=positives)
        journal = Journal(folder / positives, settings_of(args, loss, **SAMPLE), args.resume)
        model = journal.start(lambda loss=loss: new_small_model(args.seed, loss))
        start = len(journal.history) * steps
        batches = balanced_batches(images, noisy, classes, samples, seed=args.seed, steps=steps, start_step=start)
        baseline = measure_before(journal, model, test_images, split.test)
        before = baseline["start"]
        kinds = {part: {"recall@1": values["kind R@1"]} for part, values in baseline.items()}
        recall = keras_epos.RecallAtK(test_images, split.test.modes, k=(1,), metrics="recall", baseline=kinds)
        train(model, batches, args.epochs, recall, journal)
        after = measure(model, test_images, split.test)
        journal.write(after=after)
        rows |= {"features, no head": baseline["backbone"], "before training": before, f"{positives} positives": after}
        curves[f"{positives} positives"] = recall_curve(before, journal.history, "kind R@1")
    print_table(rows)
    draw_curves(folder / "curve.png", curves, "Recall@1 of the hidden kinds", {"before training": before["kind R@1"]})
    embeddings = model.predict(test_images, verbose=0)
    title = f"binomial deviance, easy positives, epoch {args.epochs}"
    draw_examples(folder / "neighbors.png", embeddings, test_images, split.test, title)
    finish(model, folder, args.export or Path("saved_models/fashion_sample"))


def new_small_model(seed, loss):
    keras.utils.set_random_seed(seed)
    model = keras_epos.EmbeddingModel(small_network(), SAMPLE["embedding_dim"])
    model.compile(keras.optimizers.Adam(SAMPLE["learning_rate"]), loss=loss)
    return model


def run_folder(args, name, arms=(".",)):
    """Where the run is written: a folder that holds no other run, or with `--resume` the one to go on with."""
    default = Path("runs") / name
    if args.resume:
        folder = args.out or latest_folder(default)
        if not is_begun(folder, [folder / arm for arm in arms]):
            raise ValueError(
                f"`--resume` must find a run. Received: {folder}, which holds none. Start without --resume."
            )
        return folder
    folder = args.out or free_folder(default)
    if folder.name != default.name and not args.out:
        print(f"{default} holds a run already: this one is written to {folder}.\n")
    return folder


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


def as_floats(image):
    import tensorflow as tf

    return tf.cast(image, "float32")


def crop_flip_resize(size, smallest_crop):
    import tensorflow as tf

    crop, flip = random_crop(scale=(smallest_crop, 1.0)), random_flip()

    def load(image, seed):
        return tf.image.resize(flip(crop(image, seed), seed), (size, size), antialias=True)

    return load


def small_network():
    layers = [keras.Input((28, 28, 1)), keras.layers.Rescaling(1 / 255)]
    for filters in (32, 64, 128):
        layers.append(keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu"))
    return keras.Sequential([*layers, keras.layers.Flatten()])


def measure_before(journal, model, images, targets):
    """What training has to beat: measures of the model at the start, and of the features of its backbone."""
    if not {"before", "backbone"} <= journal.measures.keys():
        features = keras.Sequential([model.backbone, *([model.pooling] if model.pooling else [])])
        journal.write(before=measure(model, images, targets), backbone=measure(features, images, targets))
    return {"start": journal.measures["before"], "backbone": journal.measures["backbone"]}


def without_last_classes(split, number):
    """What is left of a split without its last classes, and these."""
    classes = np.unique(split.labels)
    if number == 1 or number > len(classes) - 2:
        raise ValueError(
            f"`--hold-out` must be 0, or two classes at least that leave two to train. Received: {number} of "
            f"{len(classes)} classes."
        )
    is_held_out = np.isin(split.labels, classes[len(classes) - number :])
    return split.take(~is_held_out), split.take(is_held_out)


def best_interpolation(images, labels, folder):
    """Chooses by held-out classes how far to go from the start, whose weights are in the folder of the run."""
    batches = image_batches(images, images.shape[1], load=as_floats)
    held_out = keras_epos.RecallAtK(batches, labels, k=(1,), metrics="recall")
    return keras_epos.BestInterpolation(held_out, start=folder / START)


def train(model, batches, epochs, recall, journal, *others):
    if journal.history:
        print(f"Going on after epoch {len(journal.history)} of {epochs}.")
    model.fit(
        batches,
        epochs=epochs,
        initial_epoch=len(journal.history),
        callbacks=[recall, journal, *others],
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
        f"{name} R@1": keras_epos.retrieval.evaluate(embeddings, labels, k=(1,), metrics="recall")["recall@1"]
        for name, labels in found.items()
    }


def draw_examples(path, embeddings, images, test, title):
    """Draw one query each of eight classes (or of the modes they hide), spread over them."""
    labels, names = (test.labels, test.class_names) if test.modes is None else (test.modes, test.mode_names)
    classes = np.unique(labels)
    queries = [np.flatnonzero(labels == classes[i])[0] for i in np.linspace(0, len(classes) - 1, 8).astype(int)]
    queries = np.array(queries)
    _, found = keras_epos.retrieval.nearest(embeddings, k=6)
    draw_neighbors(path, lambda rows: images[rows], labels, queries, found[queries], names, title)


def finish(model, folder, export, image_size=None):
    print(f"metrics and pictures  {folder}")
    if keras.backend.backend() == "tensorflow":
        print(f"SavedModel            {keras_epos.export_savedmodel(model, export, image_size=image_size)}")
    else:
        print("No SavedModel: its export needs KERAS_BACKEND=tensorflow. The last checkpoint is a Keras model.")


if __name__ == "__main__":
    main()
