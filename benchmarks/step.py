"""What a loss adds to a training step, in percent of the step with the cheapest loss there is.

    python benchmarks/step.py
    python benchmarks/step.py --backbone backbone.keras --rounds 5 --of "easy triplet, semi-hard"
    python benchmarks/step.py --backbone backbone.keras --rounds 2 --photographs data/cars196/cars_train

The floor is the same model trained by the mean of its squared outputs. Without a backbone a small convolutional network
of random weights takes its place, for which a loss weighs more than for any backbone of use. The floor takes part as a
contestant too: what it seems to add to itself is noise, and of a large backbone that is more than a loss costs. So the
last column times the loss where nothing drowns it: what it adds to `fit` of a model that is nothing but embeddings, in
percent of the same floor. CPU time, of all threads, is steadier than time where others use the machine.

With photographs: how long training waits for balanced batches that are read, cropped, flipped and resized meanwhile,
and what the step takes beside that work. Where training has the CPU too, both share it.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import itertools
import statistics
import time
from pathlib import Path

import fit
import keras
import numpy as np
import side_by_side
from floors import batch

import keras_epos

PER_CLASS = 8
# Of a model without a backbone, which takes hardly a millisecond a step.
STEPS_ALONE = 20


def losses():
    return {
        "easy triplet, semi-hard": keras_epos.EasyPositiveTripletLoss(),
        "easy margin, distance-weighted": keras_epos.MarginLoss(positives="easy"),
        "easy multi-similarity": keras_epos.MultiSimilarityLoss(positives="easy"),
        "easy NT-Xent": keras_epos.NTXentLoss(positives="easy"),
        "easy triplet, negatives of a memory of 4,096": keras_epos.CrossBatchMemory(
            keras_epos.EasyPositiveTripletLoss(), 4096, memory_positives=False
        ),
    }


def small(size):
    inputs = keras.Input((size, size, 3))
    outputs = inputs
    for width in (32, 64, 128):
        outputs = keras.layers.Conv2D(width, 3, strides=2, activation="relu")(outputs)
    return keras.Model(inputs, outputs)


def embedding_model(args):
    return keras_epos.EmbeddingModel(args.backbone or small(args.size), args.dim)


def plain(args):
    inputs = keras.Input((args.size, args.size, 3))
    return keras.Model(inputs, embedding_model(args)(inputs))


def step(model, loss, data):
    model.compile("adam", loss=loss)

    def run():
        # What the loss reports is summed up, and nothing is read until the end.
        model.fit(data, shuffle=False, verbose=0)

    return run


def adds(args, images, labels):
    """`{loss: numbers}`, as the columns of the table."""
    data = fit.repeated(images, labels, args.steps)
    floor = step(plain(args), fit.mean_square, data)
    _, rows = batch(args.batch, args.dim, PER_CLASS)

    def alone(loss):
        return fit.fit(loss, "auto", labels, rows, STEPS_ALONE)

    nothing = alone(fit.mean_square)
    contestants = {"the floor once more": (floor, nothing)}
    for name in args.of:
        contestants[name] = step(embedding_model(args), losses()[name], data), alone(losses()[name])
    for run in (floor, nothing, *itertools.chain.from_iterable(contestants.values())):
        run()
        run()
    found = {name: [] for name in contestants}
    for _ in range(args.rounds):
        for name, runs in contestants.items():
            of_floor, whole, by_itself, without = map(np.array, map(side_by_side.clocks, (floor, *runs, nothing)))
            apart = (by_itself - without) / STEPS_ALONE * args.steps
            found[name].append([*(whole / of_floor - 1), apart[0] / of_floor[0]])
    return {name: columns(100 * np.array(values)) for name, values in found.items()}


def columns(percent):
    time, cpu_time, alone = percent.T
    return [*np.percentile(time, (50, 25, 75)), np.median(cpu_time), np.median(alone)]


class Photographs:
    """Steps on photographs that are read meanwhile, and how long they waited."""

    def __init__(self, args, model):
        paths = np.array(sorted(map(str, Path(args.photographs).rglob("*.jpg"))))
        load = keras_epos.data.image_loader(args.size, augment="crop_flip")
        labels = np.arange(len(paths)) // PER_CLASS
        data = keras_epos.data.balanced_batches(paths, labels, args.batch // PER_CLASS, PER_CLASS, load=load)
        self.batches, self.train, self.steps = iter(data.repeat()), model.train_on_batch, args.photograph_steps
        self.shares = []

    def __call__(self):
        waited, start = 0.0, time.perf_counter()
        for _ in range(self.steps):
            before = time.perf_counter()
            images, labels = next(self.batches)
            waited += time.perf_counter() - before
            self.train(images, labels)
        self.shares.append(waited / (time.perf_counter() - start))


def with_photographs(args, images, labels):
    model = embedding_model(args)
    model.compile("adam", loss=keras_epos.EasyPositiveTripletLoss())
    photographs = Photographs(args, model)

    def same_batch():
        for _ in range(args.photograph_steps):
            model.train_on_batch(images, labels)

    found = side_by_side.turns({"photographs": photographs}, same_batch, args.rounds)["photographs"]
    return {
        "waiting for the next batch": [100 * statistics.median(photographs.shares[-args.rounds :])],
        "longer than on a batch in memory": [100 * (side_by_side.median(found) - 1)],
        "the same, CPU time": [100 * (side_by_side.median(found, clock=1) - 1)],
    }


def main():
    parser = side_by_side.parser(__doc__, rounds=10)
    parser.add_argument("--backbone", help="a .keras file, or the name of a backbone of keras.applications")
    parser.add_argument("--batch", type=int, default=80, help=f"images, {PER_CLASS} of a class")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--steps", type=int, default=1, help="steps of each turn")
    parser.add_argument("--of", nargs="+", choices=losses(), metavar="LOSS", default=list(losses()))
    parser.add_argument("--photographs", help="a folder of .jpg files: measure what reading them takes instead")
    parser.add_argument("--photograph-steps", type=int, default=10, help="steps of each turn with photographs")
    args = parser.parse_args()
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (args.batch, args.size, args.size, 3)).astype("float32")
    labels = np.arange(args.batch) // PER_CLASS
    shape = f"{args.batch} images of {args.size} px"
    if args.photographs:
        rows = with_photographs(args, images, labels)
        side_by_side.table(f"Percent of a step of {shape} (median of {args.rounds})", ["percent"], rows, unit="%")
        return
    title = f"What a loss adds to a step of {shape}, as the median of {args.rounds} and their quarters"
    heads = ["added", "25 %", "75 %", "CPU time", "loss alone"]
    side_by_side.table(title, heads, adds(args, images, labels), unit="%")


if __name__ == "__main__":
    main()
