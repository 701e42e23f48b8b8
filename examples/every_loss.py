"""Train briefly with every loss of the library, with all and with easy positives, and compare Recall@1 in one table.

Without --data-dir a small network learns the four coarse classes of the embedded clothes, and Recall@1 is measured on
them and on the ten kinds they hide. With --data-dir a dense layer learns from the frozen features of a backbone on
Cars196, and Recall@1 is measured on car models that were not seen. Every run has the same budget and the library's
default settings but for those in SETTINGS: this shows that a loss learns, not which one is best.

A run that is in the results file already is not repeated, so a stopped command goes on where it was.
"""

import argparse
import csv
import inspect
import os
import statistics
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from run_folder import remove_unfinished, replace
from train_cars import small_network
from train_options import Help

import keras_epos
from keras_epos.data import balanced_batches, image_batches

# What differs from the defaults, and why.
SETTINGS = {
    # Distances of unit rows lie in [0, 2], over which a softmax of scale 1 is nearly flat: each of 70 negatives
    # is hardly pushed, and classes fall together. A sharper scale, or hard negatives alone, mends it.
    "nca": {"scale": 10.0},
    "lifted_structure": {"negatives": "hard"},
    "generalized_lifted_structure": {"negatives": "hard"},
}
# Losses that are made to be added to another one: that one, and their own weight.
COMPANIONS = {
    "intra_pair_variance": (keras_epos.TupletMarginLoss, 0.5),
    # On raw embeddings, which nothing else keeps short.
    "n_pairs": (keras_epos.NormPenalty, 50.0),
}
RATE = 1e-3
PROXY_RATE = 10 * RATE


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Help)
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="folder with cars_train/ and devkit/ of Cars196")
    parser.add_argument("--backbone", default="EfficientNetV2B0", metavar="NAME", help=".keras file or application")
    parser.add_argument("--image-size", type=int, default=160, metavar="PIXELS", help="for the features of Cars196")
    parser.add_argument("--losses", nargs="+", default=sorted(keras_epos.losses.LOSSES), metavar="NAME", help="which")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="runs of each loss")
    parser.add_argument("--steps", type=int, metavar="N", help="batches of a run; 250, Cars196 400")
    parser.add_argument("--out", type=Path, default=Path("runs/every_loss"), metavar="DIR", help="results and features")
    return parser.parse_args()


def main():
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    remove_unfinished(args.out)
    task = Clothes() if args.data_dir is None else Cars(args)
    steps = args.steps or task.steps
    results = args.out / f"{task.name}.csv"
    done = read(results)
    for seed in args.seeds:
        for loss, positives in [("untrained", ""), *arms(args.losses)]:
            key = (loss, positives, str(seed), str(0 if loss == "untrained" else steps))
            if key not in done:
                done[key] = run(task, loss, positives, seed, steps)
                write(results, done, task.measures)
                print(f"{loss:<32}{positives:<6}seed {seed}  " + "  ".join(f"{value:6.1%}" for value in done[key]))
    print_table(done, task.measures, args.seeds, steps)


def arms(losses):
    """Each loss with all positives and with easy ones, or alone where it has no choice."""
    for loss in losses:
        free = "positives" in inspect.signature(keras_epos.losses.LOSSES[loss].__init__).parameters
        yield from [(loss, "all"), (loss, "easy")] if free and loss != "easy_positive_triplet" else [(loss, "")]


# --- what there is to learn ---


class Clothes:
    """The embedded sample: coarse classes to learn, kinds to find again."""

    name, measures, steps = "clothes", ("class R@1", "kind R@1"), 250

    def __init__(self):
        self.train, self.test = keras_epos.datasets.fashion_sample()
        self.num_classes = int(self.train.labels.max()) + 1

    def network(self):
        return small_network()

    def batches(self, seed, steps):
        return balanced_batches(self.train.inputs[..., None] / 1.0, self.train.labels, 4, 32, seed=seed, steps=steps)

    def measure(self, model):
        embeddings = model.predict(self.test.inputs[..., None] / 1.0, verbose=0)
        return [recall(embeddings, labels) for labels in (self.test.labels, self.test.modes)]


class Cars:
    """Cars196 as features of a frozen backbone, computed once: car models to learn, unseen ones to find again."""

    measures, steps = ("unseen R@1",), 400

    def __init__(self, args):
        self.name = f"cars196_features-{Path(args.backbone).stem}-{args.image_size}"  # What the results depend on.
        self.split = keras_epos.datasets.cars196(args.data_dir)
        self.num_classes = int(self.split.train.labels.max()) + 1
        kept = args.out / f"features-{Path(args.backbone).stem}-{args.image_size}.npz"
        if not kept.exists():
            print("Computing the features of the frozen backbone, once")
            model = keras_epos.EmbeddingModel(args.backbone, embedding_dim=1)
            backbone = keras.Sequential([model.backbone, *([model.pooling] if model.pooling else [])])
            parts = {
                name: backbone.predict(image_batches(part.inputs, args.image_size), verbose=1)
                for name, part in zip(("train", "test"), self.split, strict=True)
            }
            replace(kept, lambda path: np.savez(path, **parts))
        features = np.load(kept)
        self.train_features, self.test_features = features["train"], features["test"]

    def network(self):
        return keras.Sequential([keras.Input(self.train_features.shape[1:]), keras.layers.Identity()])

    def batches(self, seed, steps):
        return balanced_batches(self.train_features, self.split.train.labels, 10, 8, seed=seed, steps=steps)

    def measure(self, model):
        return [recall(model.predict(self.test_features, verbose=0), self.split.test.labels)]


def recall(embeddings, labels):
    return keras_epos.retrieval.evaluate(embeddings, labels, k=(1,), metrics="recall")["recall@1"]


# --- a run ---


def run(task, loss, positives, seed, steps):
    keras.utils.set_random_seed(seed)
    made = None if loss == "untrained" else make(loss, positives, task.num_classes)
    model = keras_epos.EmbeddingModel(task.network(), 64, normalize=is_on_unit_rows(made))
    if made is not None:
        # Of the losses here only those with proxies have weights of their own.
        model.compile(keras.optimizers.Adam(RATE), loss=made, loss_optimizer=keras.optimizers.Adam(PROXY_RATE))
        losses = model.fit(task.batches(seed, steps), epochs=1, verbose=0, shuffle=False).history["loss"]
        if not np.isfinite(losses[-1]):
            print(f"{loss} {positives}: the loss is not finite")
    return task.measure(model)


def make(loss, positives, num_classes):
    settings = dict(SETTINGS.get(loss, {}))
    parameters = inspect.signature(keras_epos.losses.LOSSES[loss].__init__).parameters
    if positives:
        settings["positives"] = positives
    if "num_classes" in parameters and loss != "margin":
        settings["num_classes"] = num_classes
    made = keras_epos.losses.get(loss, **settings)
    if loss not in COMPANIONS:
        return made
    companion, weight = COMPANIONS[loss]
    return keras_epos.WeightedSum({loss: made, "companion": companion()}, {loss: weight})


def is_on_unit_rows(loss):
    parts = loss.losses.values() if isinstance(loss, keras_epos.WeightedSum) else [loss]
    return all(getattr(part, "normalize", True) for part in parts)


# --- results ---


def read(path):
    if not path.exists():
        return {}
    with path.open() as file:
        rows = list(csv.reader(file))[1:]
    return {tuple(row[:4]): [float(value) for value in row[4:]] for row in rows}


def write(path, done, measures):
    def save(beside):
        with beside.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["loss", "positives", "seed", "steps", *measures])
            writer.writerows([*key, *(f"{value:.5f}" for value in values)] for key, values in done.items())

    replace(path, save)


def print_table(done, measures, seeds, steps):
    """A line for each loss: mean over seeds and, behind the sign, half the range between the worst and the best."""
    print(f"\n{len(seeds)} seeds, {steps} steps. Mean, and half the range over seeds, in percent.\n")
    columns = [f"{measure}, {positives}" for measure in measures for positives in ("all", "easy")]
    print("| loss | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    losses = sorted({key[0] for key in done}, key=lambda loss: (loss != "untrained", loss))
    for loss in losses:
        cells = []
        for place in range(len(measures)):
            alone = cell(done, loss, "", seeds, place)
            cells += [alone, ""] if alone else [cell(done, loss, one, seeds, place) for one in ("all", "easy")]
        print(f"| {loss} | " + " | ".join(cells) + " |")


def cell(done, loss, positives, seeds, place):
    found = [values[place] for key, values in done.items() if key[:2] == (loss, positives) and int(key[2]) in seeds]
    if not found:
        return ""
    return f"{100 * statistics.mean(found):.1f} ± {50 * (max(found) - min(found)):.1f}"


if __name__ == "__main__":
    main()
