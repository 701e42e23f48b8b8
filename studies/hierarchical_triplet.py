"""Hierarchical triplet loss against the plain triplet loss on Cars196 at equal budget, and a picture of the class tree.

A dense layer learns from the frozen features of a backbone, which are computed once and kept, so a run takes seconds.
Retrieval is measured on car models that were not seen. The arms take apart what the method is made of: batches of
classes and their neighbors, and margins from the tree, built once or anew before every epoch.

A run that is in the results file already is not repeated, so a stopped command goes on where it was.
"""

import argparse
import os
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import matplotlib

matplotlib.use("Agg")
import numpy as np
from every_loss import Cars
from runs import Results, mean_and_half_range, write_whole

import keras_epos
from keras_epos.data import AnchorNeighborIndices, BatchIndices, batches
from keras_epos.hierarchy import ClassHierarchy, draw_dendrogram


class Arm(NamedTuple):
    """How a run differs: its loss, its batches, whether the tree is built anew before every epoch, and its form."""

    loss: str
    positives: str = "all"
    with_neighbors: bool = False
    every_epoch: bool = False
    linkage: str = "average"
    num_levels: int = 16


ARMS = {
    "triplet": Arm("triplet"),
    "triplet, easy positives": Arm("triplet", "easy"),
    "triplet, neighbors": Arm("triplet", with_neighbors=True, every_epoch=True),
    # What the hierarchical loss is without a tree, and so what its margins are to be held against.
    "all triplets, neighbors": Arm("all triplets", with_neighbors=True, every_epoch=True),
    "HTL without neighbors, one tree": Arm("hierarchical"),
    "HTL, one tree": Arm("hierarchical", with_neighbors=True),
    "HTL, one tree of 64 levels": Arm("hierarchical", with_neighbors=True, num_levels=64),
    "HTL, a tree an epoch": Arm("hierarchical", with_neighbors=True, every_epoch=True),
    "HTL, a tree an epoch, single linkage": Arm(
        "hierarchical", with_neighbors=True, every_epoch=True, linkage="single"
    ),
    "HTL, easy positives, one tree": Arm("hierarchical", "easy", with_neighbors=True),
}
DRAWN = "HTL, one tree"
MEASURES = ("recall@1", "map@r")
SETTINGS = ("backbone", "image_size", "embedding_dim", "batch", "epochs", "warm_up", "learning_rate")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, metavar="DIR", help="folder with cars_train/, devkit/")
    parser.add_argument("--backbone", default="EfficientNetV2B0", metavar="NAME", help=".keras file or application")
    parser.add_argument("--image-size", type=int, default=160, metavar="PIXELS", help="for the features")
    parser.add_argument("--embedding-dim", type=int, default=512, metavar="N", help="dimensions of the embeddings")
    parser.add_argument("--batch", default="5x4x4", metavar="LxMxT", help="L times M similar classes, T images of each")
    parser.add_argument("--epochs", type=int, default=8, metavar="N", help="passes over the training images")
    parser.add_argument("--warm-up", type=int, default=2, metavar="N", help="epochs before the first tree")
    parser.add_argument("--learning-rate", type=float, default=2e-4, metavar="RATE", help="of Adam")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS, metavar="NAME", help="what to compare")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="runs of each arm")
    parser.add_argument("--out", type=Path, default=Path("runs/hierarchical"), metavar="DIR", help="results, features")
    args = parser.parse_args()
    if not 0 <= args.warm_up < args.epochs:
        parser.error(f"--warm-up must leave an epoch of {args.epochs} with a tree. Received: {args.warm_up}")
    return args


def main():
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    cars = Cars(args)
    tree = args.out / f"tree-{'-'.join(settings_of(args))}.npz"
    done = Results(args.out / "results.csv", ("arm", "seed", *SETTINGS), MEASURES)
    for seed in args.seeds:
        for name in args.arms:
            key = (name, str(seed), *settings_of(args))
            if key not in done:
                values, hierarchy = run(cars, ARMS[name], seed, args)
                if name == DRAWN and seed == args.seeds[0]:
                    write_whole(tree, hierarchy.save)
                done[key] = values
                print(f"{name:<38}seed {seed}  " + "  ".join(f"{value:6.1%}" for value in done[key]), flush=True)
    print_table(done, args)
    if tree.exists():
        show(tree, cars.split.train.class_names, args.out / "dendrogram.png")


def settings_of(args):
    features = (Path(args.backbone).stem, args.image_size)
    training = (args.embedding_dim, args.batch, args.epochs, args.warm_up, args.learning_rate)
    return tuple(str(value) for value in (*features, *training))


# --- a run ---


def run(cars, arm, seed, args):
    """Recall@1 and MAP@R on unseen classes, and the last tree, or `None`."""
    keras.utils.set_random_seed(seed)
    features, labels = cars.train_features, cars.split.train.labels
    anchors, together, samples = (int(number) for number in args.batch.split("x"))
    indices = BatchIndices(labels, anchors * together, samples, seed=seed)
    if arm.with_neighbors:
        indices = AnchorNeighborIndices(labels, anchors, together, samples, seed=seed)
    loss = loss_of(arm, cars.num_classes)
    every = 1 if arm.every_epoch else args.epochs
    taking = indices if arm.with_neighbors else None
    rebuild = keras_epos.HierarchyRebuild(features, labels, indices=taking, warm_up_epochs=args.warm_up, every=every)
    needs_tree = arm.with_neighbors or arm.loss == "hierarchical"
    model = keras_epos.EmbeddingModel(cars.network(), args.embedding_dim)
    model.compile(keras.optimizers.Adam(args.learning_rate), loss=loss)
    callbacks = [rebuild] if needs_tree else []
    model.fit(batches(features, indices), epochs=args.epochs, callbacks=callbacks, shuffle=False, verbose=0)
    return measure(model.predict(cars.test_features, verbose=0), cars.split.test.labels), rebuild.hierarchy


def loss_of(arm, num_classes):
    if arm.loss == "hierarchical":
        form = {"linkage": arm.linkage, "num_levels": arm.num_levels}
        return keras_epos.HierarchicalTripletLoss(num_classes, positives=arm.positives, **form)
    if arm.loss == "all triplets":
        return keras_epos.TripletLoss(0.1, positives=arm.positives, negatives="all", average_over="valid")
    return keras_epos.TripletLoss(positives=arm.positives)


def measure(embeddings, labels):
    found = keras_epos.retrieval.evaluate(embeddings, labels, k=(1,), metrics=("recall", "map@r"))
    return [found[name] for name in MEASURES]


# --- results ---


def print_table(done, args):
    """Mean over seeds and, behind the sign, half the range between the worst and the best seed."""
    print(f"\n{len(args.seeds)} seeds, {args.epochs} epochs. Mean, and half the range over seeds.\n")
    print("| arm | Recall@1 | MAP@R |\n|---|---|---|")
    for name in args.arms:
        columns = zip(*(done[name, str(seed), *settings_of(args)] for seed in args.seeds), strict=True)
        cells = [f"{mean_and_half_range(column)} %" for column in columns]
        print(f"| {name} | {cells[0]} | {cells[1]} |")


def show(tree, names, path):
    """Print the tree and some neighbors, and draw it."""
    hierarchy = ClassHierarchy.load(tree)
    names = [names[label] for label in hierarchy.classes]
    print(f"\nThe tree after the warm-up: {hierarchy}\n")
    for place in np.linspace(0, len(hierarchy) - 1, 8).astype(int):
        near = hierarchy.nearest(2)[place]
        print(f"{names[place]}: near {' and '.join(names[other] for other in near)}")
    draw_dendrogram(hierarchy, names).figure.savefig(path, dpi=110)
    print(f"\nThe picture is {path}")


if __name__ == "__main__":
    main()
