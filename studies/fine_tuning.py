"""Find out what easy positives need when a backbone is fine-tuned on photographs of Cars196.

First every arm is trained on 78 of the 98 car models to train and compared on the other 20. Then, with `--final`, the
best arm of each loss and kind of positives is trained on all 98 and measured on the unseen models 99-196. A run that
is in the results file is not repeated, so a stopped command goes on where it was.
"""

import argparse
import logging
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from collapse_study import RESULTS
from photographs import crop_flip_resize, decoded
from runs import append_row, read_rows

import keras_epos
from keras_epos.data import balanced_batches, image_batches, symmetric_noise
from keras_epos.training import freeze_first_layers, warm_cosine_adamw

KEYS = ("part", "arm", "noise", "steps", "seed")
EPOCHS = 3
IMAGE_SIZE = 96
EASY, EASY_3 = "easy", keras_epos.Easy(k=3)


def arms():
    """Name, loss, its settings, and how it is trained: batch shape, rate of the backbone, epochs with all positives."""
    for temperature in (0.05, 0.1):
        for positives in ("all", EASY):
            settings = {"temperature": temperature, "positives": positives}
            yield f"nt_xent {positives} t={temperature}", "nt_xent", settings, {}
    yield "multi_similarity all", "multi_similarity", {}, {}
    for order in ("instead_of_mining", "before_mining"):
        settings = {"positives": EASY, "positives_chosen": order}
        yield f"multi_similarity easy {order}", "multi_similarity", settings, {}
    high = {"base": 0.8, "positives": EASY}
    yield "multi_similarity easy base=0.8", "multi_similarity", high, {}
    for positives in ("all", EASY):
        yield f"triplet {positives}", "triplet", {"positives": positives}, {}
    easy = {"temperature": 0.05, "positives": EASY}
    yield "nt_xent easy t=0.05 warm", "nt_xent", easy, {"warm": 1}
    yield "nt_xent easy t=0.05 20x4", "nt_xent", easy, {"batch": (20, 4)}
    yield "nt_xent easy k=3 t=0.05", "nt_xent", {"temperature": 0.05, "positives": EASY_3}, {}
    for base in (0.5, 0.8):
        settings = {"base": base, "positives": EASY_3}
        yield f"multi_similarity easy k=3 base={base}", "multi_similarity", settings, {}
    yield "triplet easy k=3", "triplet", {"positives": EASY_3}, {}
    yield "multi_similarity all base=0.8", "multi_similarity", {"base": 0.8}, {}
    yield "multi_similarity easy base=0.8 warm", "multi_similarity", high, {"warm": 1}
    yield "triplet easy warm", "triplet", {"positives": EASY}, {"warm": 1}
    yield "nt_xent easy t=0.05 5x16", "nt_xent", easy, {"batch": (5, 16)}
    yield "multi_similarity easy base=0.8 slow", "multi_similarity", high, {"learning_rate": 1e-4}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, metavar="DIR", help="folder of Stanford Cars")
    parser.add_argument("--backbone", default="EfficientNetV2B0", metavar="NAME", help="as in train_cars.py")
    parser.add_argument("--arms", nargs="+", default=[""], metavar="TEXT", help="arms whose name holds one of these")
    parser.add_argument("--final", action="store_true", help="the chosen arms on the unseen car models")
    parser.add_argument("--noise", nargs="+", type=float, default=[0.0], metavar="SHARE", help="wrong labels")
    parser.add_argument("--steps", type=int, default=150, metavar="N", help="batches of a run")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N")
    parser.add_argument(
        "--image-size", type=int, default=IMAGE_SIZE, metavar="PIXELS", help="in training; 4/3 of it in tests"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="results")
    return parser.parse_args()


def main():
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    logging.getLogger("tensorflow").setLevel("ERROR")  # every arm compiles its own graph, of which TensorFlow warns
    kept = "" if args.image_size == IMAGE_SIZE else f"_{args.image_size}px"  # Results of one size stand in one file.
    path = args.out / f"fine_tuning{kept}.csv"
    size = args.image_size * 4 // 3
    split = keras_epos.datasets.cars196(args.data_dir)
    images, labels = decoded(split.train, size, "training"), split.train.labels
    held_out = np.isin(labels, np.random.default_rng(0).permutation(98)[:20])
    train, test = (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out])
    chosen = list(arms())
    if args.final:
        chosen = best(path, chosen, args.steps)
        train, test = (images, labels), (decoded(split.test, size, "test"), split.test.labels)
        path = args.out / f"fine_tuning_unseen{kept}.csv"
    for seed in args.seeds:
        for noise in args.noise:
            for arm in (arm for arm in chosen if any(text in arm[0] for text in args.arms)):
                key = ("unseen" if args.final else "held out", arm[0], noise, args.steps, seed)
                if key not in {tuple(row[name] for name in KEYS) for row in read_rows(path)}:
                    started = time.perf_counter()
                    values = run(args, arm, train, test, noise, seed)
                    append_row(path, KEYS, key, values)
                    result = "  ".join(f"{value:5.1%}" for value in values.values())
                    seconds = time.perf_counter() - started
                    print(f"{arm[0]:<40}{noise:4.0%} seed {seed}  {result}  {seconds:4.0f} s", flush=True)


def run(args, arm, train, test, noise, seed):
    """Train one arm in three epochs; return Recall@1 before training and after each of them, or after the last."""
    _, loss, settings, how = arm
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = keras_epos.EmbeddingModel(args.backbone, 512, freeze_batch_norm=True)
    freeze_first_layers(model.backbone, 0.3)
    tests = image_batches(test[0], test[0].shape[1], load=lambda image: tf.cast(image, "float32"))
    found = {"before": recall(model, tests, test[1])}
    for epoch in range(EPOCHS):
        if epoch == 0 or epoch == how.get("warm"):
            left = how["warm"] if epoch < how.get("warm", 0) else EPOCHS - epoch
            changed = {"positives": "all"} if epoch < how.get("warm", 0) else {}
            model.compile(
                warm_cosine_adamw(1e-3, args.steps * left // EPOCHS),
                loss=keras_epos.losses.get(loss, **settings | changed),
                backbone_optimizer=warm_cosine_adamw(how.get("learning_rate", 4e-4), args.steps * left // EPOCHS),
            )
        batches = balanced_batches(
            train[0],
            symmetric_noise(train[1], noise, seed),
            *how.get("batch", (10, 8)),
            load=crop_flip_resize(args.image_size, 0.5),
            seed=seed,
            steps=args.steps // EPOCHS,
            start_step=epoch * (args.steps // EPOCHS),
        )
        model.fit(batches, verbose=0, shuffle=False)
        if not args.final or epoch == EPOCHS - 1:
            found[f"third {epoch + 1}"] = recall(model, tests, test[1])
    return found


def recall(model, batches, labels):
    return keras_epos.retrieval.evaluate(model.predict(batches, verbose=0), labels, k=(1,))["recall@1"]


def best(path, chosen, steps):
    """Of each loss and kind of positives the arm that did best on the held-out car models."""
    rows = [row for row in read_rows(path) if (row["noise"], row["steps"]) == (0, steps)]
    scores = {row["arm"]: row[f"third {EPOCHS}"] for row in rows}
    kept = {}
    for arm in sorted((arm for arm in chosen if arm[0] in scores), key=lambda arm: scores[arm[0]]):
        kept[arm[1], arm[2].get("positives", "all")] = arm
    return list(kept.values())


if __name__ == "__main__":
    main()
