"""Learn ten kinds of clothes from wrong labels, with and without a curriculum: the dense samples of a class first.

A network is trained briefly on all samples; its embedding splits every class into clean, noisy and highly noisy ones
(CurriculumNet, Guo et al. 2018). Then networks start anew with the same number of steps: on all samples at once, on
the clean ones alone, or in three stages. A softmax classifier is measured by its accuracy, an embedding that is trained
with triplets by Recall@1, both on test images with right labels.

Splits and results are kept, so a stopped command goes on where it was.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from runs import Results, idx_files, mean_and_half_range, refilled, small_network

import keras_epos
from keras_epos import curriculum
from keras_epos.data import pairwise_noise, symmetric_noise
from keras_epos.data.datasets._fashion_sample import NAMES

# Kinds that people mistake for each other; nothing looks like a bag.
LIKE = [("T-shirt", "Shirt"), ("Shirt", "T-shirt"), ("Pullover", "Coat"), ("Coat", "Pullover")]
LIKE += [("Trouser", "Dress"), ("Dress", "Trouser"), ("Sandal", "Sneaker"), ("Sneaker", "Boot"), ("Boot", "Sandal")]
PARTNERS = {NAMES.index(kind): NAMES.index(other) for kind, other in LIKE}
RULES = ("quantile", "nearest", "agreement")
LEARNERS = ("softmax", "all positives", "easy positives")
# What is trained on: parts of a split, or labels without one.
WAYS = ("everything", "right labels only", *(f"{what}, {rule}" for rule in RULES for what in ("clean", "stages")))
SHOWN = ["everything", "clean, quantile", "stages, quantile", "stages, agreement", "right labels only"]
KEYS = ("noise", "share", "learner", "way", "epochs", "seed")
PARTS = ("clean", "noisy", "highly noisy")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="official idx files; else the embedded sample")
    parser.add_argument("--samples", type=int, default=1000, metavar="N", help="of a kind to train, with --data-dir")
    parser.add_argument("--noise", nargs="+", choices=("symmetric", "pairs"), default=["symmetric", "pairs"])
    parser.add_argument("--share", nargs="+", type=float, default=[0.2, 0.4], metavar="SHARE", help="wrong labels")
    parser.add_argument("--learners", nargs="+", choices=LEARNERS, default=list(LEARNERS), metavar="NAME")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=SHOWN, metavar="NAME", help="of training")
    parser.add_argument("--weights", nargs=3, type=float, default=[1, 0.5, 0.5], metavar="W", help="of the three parts")
    parser.add_argument("--epochs", type=int, default=9, metavar="N", help="of a run; a third of them in each stage")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument("--out", type=Path, default=Path("runs/noisy_labels"), metavar="DIR", help="splits and results")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="of each part; DIR/parts.png if not given")
    return parser.parse_args()


def main():
    args = parse_arguments()
    args.kept = kept_in(args)
    train, test = load(args)
    done = Results(args.kept / "results.csv", KEYS, ["result"])
    sizes = [f"{what}, {part}" for what in ("size", "wrong") for part in PARTS]
    split_rows = Results(args.kept / "splits.csv", KEYS, sizes)
    for seed in args.seeds:
        for noise in args.noise:
            for share in args.share:
                labels = noisy(train.labels, noise, share, seed)
                for learner in args.learners:
                    key = (noise, str(share), learner)
                    parts = splits_of(learner, train, labels, args, seed, key)
                    for rule, found in parts.items():
                        split_rows[(*key, rule, "-", str(seed))] = composition(found, labels != train.labels)
                    for way in args.ways:
                        full_key = (*key, way, str(args.epochs), str(seed))
                        if full_key not in done:
                            done[full_key] = [run(learner, way, train, test, labels, parts, args, seed)]
                            result = f"seed {seed}  {done[full_key][0]:6.1%}"
                            print(f"{noise:<11}{share:<5.0%}{learner:<16}{way:<20}{result}", flush=True)
    print_splits(split_rows, args)
    print_results(done, args)
    draw(train, args)


def kept_in(args):
    """Folder of splits and results, named by what they depend on beside what stands in their lines."""
    data = "sample" if args.data_dir is None else f"{args.samples}-of-a-kind"
    weights = "-".join(f"{weight:g}" for weight in args.weights)
    return args.out / f"{data}-epochs-{args.epochs}-weights-{weights}"


# --- data ---


def load(args):
    """Training and test images of ten kinds, `(N, 28, 28)`, with right labels."""
    if args.data_dir is None:
        return keras_epos.datasets.fashion_sample(label="fine")
    parts = [keras_epos.datasets.Split(*idx_files(args.data_dir, part), NAMES) for part in ("train", "t10k")]
    rows = [np.flatnonzero(parts[0].labels == kind)[: args.samples] for kind in range(10)]
    return keras_epos.datasets.TrainTest(parts[0].take(np.concatenate(rows)), parts[1])


def noisy(labels, noise, share, seed):
    if noise == "symmetric":
        return symmetric_noise(labels, share, seed)
    return pairwise_noise(labels, share, PARTNERS, seed)


# --- the split ---


def splits_of(learner, train, labels, args, seed, key):
    """`Parts` by each rule, from an embedding that was trained on all samples with their wrong labels."""
    paths = {rule: args.kept / f"parts-{'-'.join(key)}-{rule}-{seed}.csv".replace(" ", "-") for rule in RULES}
    if not all(path.exists() for path in paths.values()):
        model = start(learner, seed)
        everything = np.zeros(len(labels), np.int64)
        fit(model, learner, train, labels, everything, (max(1, args.epochs // 3),), (1,), seed)
        embeddings = embedding_of(model, learner).predict(train.inputs[..., None], batch_size=500, verbose=0)
        for rule, path in paths.items():
            curriculum.split(embeddings, labels, rule=rule).save(path)
    return {rule: curriculum.Parts.load(path) for rule, path in paths.items()}


def composition(parts, is_wrong):
    """Shares of the samples that stand in each part, and shares of these that are wrong."""
    sizes = parts.sizes
    wrong = np.bincount(parts.parts, is_wrong, minlength=3)
    return [*(sizes / len(parts)), *(wrong / np.maximum(sizes, 1))]


# --- a run ---


def run(learner, way, train, test, labels, parts, args, seed):
    """Accuracy or Recall@1 on the test images after training in one way."""
    what, _, rule = way.partition(", ")
    third = max(1, args.epochs // 3)
    if what == "stages":
        chosen, epochs, weights = parts[rule].parts, (third, third, args.epochs - 2 * third), args.weights
    else:
        left_out = {"everything": labels < 0, "right labels only": labels != train.labels}
        chosen = np.where(left_out[what], 1, 0) if what in left_out else np.minimum(parts[rule].parts, 1)
        epochs, weights = (args.epochs, 0), (1, 0)
    model = start(learner, seed)
    fit(model, learner, train, labels, chosen, epochs, weights, seed)
    outputs = model.predict(test.inputs[..., None], batch_size=500, verbose=0)
    if learner == "softmax":
        return float(np.mean(outputs.argmax(axis=1) == test.labels))
    return keras_epos.retrieval.evaluate(outputs, test.labels, k=(1,), metrics="recall")["recall@1"]


def start(learner, seed):
    """A model with new weights."""
    keras.utils.set_random_seed(seed)
    if learner == "softmax":
        model = small_network(last=[keras.layers.Dense(64, activation="relu"), keras.layers.Dense(10)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    else:
        model = keras_epos.EmbeddingModel(small_network(), 64)
        loss = keras_epos.TripletLoss(positives=learner.split()[0])
    model.compile(keras.optimizers.Adam(1e-3), loss, steps_per_execution=10)
    return refilled(learner, model)


def embedding_of(model, learner):
    return keras.Model(model.inputs, model.layers[-2].output) if learner == "softmax" else model


def fit(model, learner, train, labels, parts, epochs, weights, seed):
    """The same number of steps whatever the parts: as many as draw all samples, in every epoch."""
    batch = {"batch_size": 64} if learner == "softmax" else {"classes_per_batch": 10, "samples_per_class": 8}
    batches = curriculum.StagedBatches(
        train.inputs[..., None],
        labels,
        parts,
        epochs,
        weights=weights,
        steps=max(10, len(labels) // 64 // 10 * 10),
        small_classes="repeat",
        seed=seed,
        **batch,
    )
    stages = keras_epos.StageByEpoch(batches)
    model.fit(batches, epochs=sum(epochs), shuffle=False, verbose=0, callbacks=[stages])


# --- results ---


def print_splits(rows, args):
    print("\nWrong labels in each part, and in brackets the share of all samples that stand there. Means over seeds.\n")
    print("| noise | embedding | rule | " + " | ".join(PARTS) + " |\n|---|---|---|---|---|---|")
    for noise, share, learner, rule in dict.fromkeys(key[:4] for key in rows):
        found = [values for key, values in rows.items() if key[:4] == (noise, share, learner, rule)]
        means = 100 * np.mean(found, axis=0)
        cells = [f"{wrong:.0f} % ({size:.0f} %)" for size, wrong in zip(means[:3], means[3:], strict=True)]
        print(f"| {noise} {float(share):.0%} | {learner} | {rule} | " + " | ".join(cells) + " |")


def print_results(done, args):
    columns = [(noise, str(share)) for noise in args.noise for share in args.share]
    print(f"\n{args.epochs} epochs. Accuracy (softmax) or Recall@1 in %: mean over seeds, and half their range.\n")
    print("| learner | trained on | " + " | ".join(f"{noise} {float(share):.0%}" for noise, share in columns) + " |")
    print("|---|---|" + "---|" * len(columns))
    for learner in args.learners:
        for way in args.ways:
            cells = []
            for column in columns:
                keys = [(*column, learner, way, str(args.epochs), str(seed)) for seed in args.seeds]
                cells.append(mean_and_half_range([done[key][0] for key in keys]))
            print(f"| {learner} | {way} | " + " | ".join(cells) + " |")


def draw(train, args):
    noise, share, seed = args.noise[0], args.share[0], args.seeds[0]
    labels = noisy(train.labels, noise, share, seed)
    key = (noise, str(share), args.learners[0])
    parts = splits_of(args.learners[0], train, labels, args, seed, key)["quantile"]
    path = args.picture or args.out / "parts.png"
    curriculum.draw_parts(path, parts, 255 - train.inputs, labels != train.labels, train.class_names, range(10))
    print(f"\nThe picture is {path}; what has a red frame is labeled wrongly.")


if __name__ == "__main__":
    main()
