"""Train briefly with every loss of the library, with all and with easy positives, and compare Recall@1 in one table.

Without --data-dir a small network learns the four coarse classes of the embedded clothes, and Recall@1 is measured on
them and on the ten kinds they hide. With --data-dir a dense layer learns from the frozen features of a backbone on
Cars196, and Recall@1 is measured on car models that were not seen. Every run has the same budget and the library's
default settings but for those in SETTINGS: this shows that a loss learns, not which one is best.

A run that is in the results file already is not repeated, so a stopped command goes on where it was.
"""

import argparse
import inspect
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from runs import Results, cars196_features, features_as_they_are, mean_and_half_range, small_network

import keras_epos
from keras_epos.data import balanced_batches

# What differs from the defaults, and why.
SETTINGS = {
    # Distances of unit rows lie in [0, 2], over which a softmax of scale 1 is nearly flat: each of 70 negatives
    # is hardly pushed, and classes fall together. A sharper scale, or hard negatives alone, mends it.
    "nca": {"scale": 10.0},
    "lifted_structure": {"negatives": "hard"},
    "generalized_lifted_structure": {"negatives": "hard"},
    # Lengths of a small network's embeddings; the defaults are for those of large ones.
    "mag_face": {"bounds": (0.5, 50.0)},
}
# Losses that are made to be added to another one: that one, and their own weight.
COMPANIONS = {
    "intra_pair_variance": (keras_epos.TupletMarginLoss, 0.5),
    # On raw embeddings, which nothing else keeps short.
    "n_pairs": (keras_epos.NormPenalty, 50.0),
}
# What is learned from pairs of two towers has nothing to learn here.
FOR_LABELS = sorted(
    name for name, loss in keras_epos.losses.LOSSES.items() if not issubclass(loss, keras_epos.TwoTowerLoss)
)
RATE = 1e-3
PROXY_RATE = 10 * RATE


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="folder with cars_train/ and devkit/ of Cars196")
    parser.add_argument("--backbone", default="EfficientNetV2B0", metavar="NAME", help=".keras file or application")
    parser.add_argument("--image-size", type=int, default=160, metavar="PIXELS", help="for the features of Cars196")
    parser.add_argument("--losses", nargs="+", default=FOR_LABELS, choices=FOR_LABELS, metavar="NAME", help="which")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="runs of each loss")
    parser.add_argument("--steps", type=int, metavar="N", help="batches of a run; 250, Cars196 400")
    parser.add_argument("--out", type=Path, default=Path("runs/every_loss"), metavar="DIR", help="results and features")
    return parser.parse_args()


def main():
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    task = Clothes() if args.data_dir is None else Cars(args)
    steps = args.steps or task.steps
    done = Results(args.out / f"{task.name}.csv", ("loss", "positives", "seed", "steps"), task.measures)
    for seed in args.seeds:
        for loss, positives in [("untrained", ""), *arms(args.losses)]:
            key = (loss, positives, str(seed), str(0 if loss == "untrained" else steps))
            if key not in done:
                done[key] = run(task, loss, positives, seed, steps)
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
        return small_network(((32, 3), (64, 3), (128, 3)))

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
        self.train_features, self.test_features = cars196_features(self.split, args.backbone, args.image_size)

    def network(self):
        return features_as_they_are(self.train_features.shape[1])

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
    by_length = (keras_epos.AdaFaceLoss, keras_epos.MagFaceLoss)
    return all(getattr(part, "normalize", True) and not isinstance(part, by_length) for part in parts)


# --- results ---


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
    return mean_and_half_range(found) if found else ""


if __name__ == "__main__":
    main()
