"""How quickly class-balanced batches start and come, beside `tf.data.Dataset.choose_from_datasets`, and photographs.

    python benchmarks/batches.py
    python benchmarks/batches.py --photographs data/cars196/cars_train
    python benchmarks/batches.py --samples 120053 --classes 22634
    python benchmarks/batches.py --samples 100000000 --classes 1000000

Rows are small (64 floats), so that the choice of samples is what is timed. With photographs: decode, crop, flip and
resize, as a share of the same `tf.data` pipeline over the same files in a row. With a number of samples: the index
alone, of labels in random order in a file.
"""

import os
import tempfile
import time
import tracemalloc
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import side_by_side
import tensorflow as tf

import keras_epos

CLASSES, SAMPLES = 32, 4


def ours(inputs, labels):
    return keras_epos.data.balanced_batches(inputs, labels, CLASSES, SAMPLES, seed=0)


def choose_from_datasets(inputs, labels):
    """A data set for each class, as it is often advised."""
    sets = [
        tf.data.Dataset.from_tensor_slices((inputs[rows], labels[rows])).shuffle(8).repeat()
        for rows in np.split(np.arange(len(labels)), np.flatnonzero(np.diff(labels)) + 1)
    ]
    choice = tf.data.Dataset.range(len(sets)).shuffle(len(sets)).repeat()
    choice = choice.flat_map(lambda one: tf.data.Dataset.from_tensors(one).repeat(SAMPLES))
    return tf.data.Dataset.choose_from_datasets(sets, choice).batch(CLASSES * SAMPLES)


def start_and_rate(make, seconds):
    """Seconds to the first batch from nothing, and samples a second after it."""
    begin = time.perf_counter()
    batches = iter(make())
    next(batches)
    start = time.perf_counter() - begin
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        try:
            next(batches)
        except StopIteration:
            break
        count += 1
    return start, count * CLASSES * SAMPLES / (time.perf_counter() - begin)


def index_rate(indices, seconds):
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        indices(np.arange(count, count + 64))
        count += 64
    return count * CLASSES * SAMPLES / (time.perf_counter() - begin)


def index_cost(samples, classes, rounds, seconds):
    """Time and memory of the index of int64 labels in a file."""
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.npy"
        labels = np.lib.format.open_memmap(path, "w+", np.int64, (samples,))
        for first in range(0, samples, 2**20):
            labels[first : first + 2**20] = generator.integers(0, classes, min(2**20, samples - first))
        labels = np.load(path, mmap_mode="r")

        def make():
            return keras_epos.data.BatchIndices(labels, CLASSES, SAMPLES, small_classes="repeat", seed=0)

        turns = side_by_side.turns({"index": make}, lambda: np.argsort(labels, kind="stable"), rounds)["index"]
        tracemalloc.start()
        indices = make()
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return {
            "seconds": np.median([own[0] for own, _ in turns]),
            "as a multiple of np.argsort(labels)": side_by_side.median(turns),
            "bytes a label, held": held / samples,
            "bytes a label, at most while it is made": peak / samples,
            "thousand indices a second": index_rate(indices, seconds) / 1000,
        }


def photographs(folder, rounds):
    """Rate of balanced batches as a share of the same pipeline without balancing: `{name: share}`."""
    paths = np.array(sorted(map(str, Path(folder).rglob("*.jpg"))))[:2048]
    labels = np.arange(len(paths)) // 8
    load = keras_epos.data.image_loader(160, augment="crop_flip")

    def in_a_row():
        seeds = np.random.default_rng(0).integers(0, 2**31, (len(paths), 2)).astype("int32")
        data = tf.data.Dataset.from_tensor_slices((paths, seeds))
        return data.map(lambda path, seed: load(path, seed=seed), tf.data.AUTOTUNE).batch(128).prefetch(2)

    def balanced():
        return keras_epos.data.balanced_batches(paths, labels, CLASSES, SAMPLES, load=load, steps=len(paths) // 128)

    def decoded():
        data = tf.data.Dataset.from_tensor_slices(paths)
        read = data.map(lambda path: tf.io.decode_jpeg(tf.io.read_file(path), 3), tf.data.AUTOTUNE)
        return read.prefetch(128)

    def drain(make):
        return lambda: sum(1 for _ in make())

    times = side_by_side.ratios({"balanced": drain(balanced), "decoding": drain(decoded)}, drain(in_a_row), rounds)
    return {
        "share of the pipeline without balancing": [1 / times["balanced"]],
        "share of decoding alone": [times["decoding"] / times["balanced"]],
    }


def main():
    parser = side_by_side.parser(__doc__, rounds=3)
    parser.add_argument("--classes", type=int, nargs="+", default=[100, 1_000, 100_000])
    parser.add_argument("--peer-up-to", type=int, default=1_000, help="classes; it needs a data set for each")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long batches are drawn")
    parser.add_argument("--photographs", help="a folder of .jpg files: measure these instead")
    parser.add_argument("--samples", type=int, help="measure the index of as many labels instead")
    args = parser.parse_args()
    if args.samples:
        costs = [index_cost(args.samples, classes, args.rounds, args.seconds) for classes in args.classes]
        rows = {name: [cost[name] for cost in costs] for name in costs[0]}
        columns = [f"{classes:,}" for classes in args.classes]
        side_by_side.table(f"The index of {args.samples:,} labels, by number of classes", columns, rows, unit="")
        return
    if args.photographs:
        side_by_side.table("Photographs a second", ["share"], photographs(args.photographs, args.rounds), unit="")
        return
    rows = {
        name: []
        for name in (
            "first batch, seconds",
            "thousand indices a second",
            "thousand samples a second",
            "choose_from_datasets: first batch, seconds",
            "choose_from_datasets: thousand samples a second",
        )
    }
    for classes in args.classes:
        labels = np.repeat(np.arange(classes), 6)
        inputs = np.zeros((len(labels), 64), np.float32)
        found = [start_and_rate(partial(ours, inputs, labels), args.seconds) for _ in range(args.rounds)]
        start, rate = np.median(found, axis=0)
        rates = [
            start,
            index_rate(keras_epos.data.BatchIndices(labels, CLASSES, SAMPLES, seed=0), args.seconds) / 1000,
            rate / 1000,
        ]
        peer = [None, None]
        if classes <= args.peer_up_to:
            start, rate = start_and_rate(partial(choose_from_datasets, inputs, labels), args.seconds)
            peer = [start, rate / 1000]
        for values, one in zip(rows.values(), rates + peer, strict=True):
            values.append(one)
    title = f"Batches of {CLASSES} classes x {SAMPLES} samples, six samples a class"
    side_by_side.table(title, [f"{classes:,}" for classes in args.classes], rows, unit="")


if __name__ == "__main__":
    main()
