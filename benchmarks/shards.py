"""Photographs in shards beside the same photographs in files: how quickly they are read, and that they are the same.

    pip install -e ".[cpu,grain]"
    python benchmarks/shards.py photos                            # photos/<class>/<image>.jpg
    python benchmarks/shards.py photos --workers 2 4

Reading alone: the bytes of the photographs of balanced batches, a batch at a time, as a multiple of the rate from
files. "cold" means that the system was told to forget the contents before (Linux). Then batches of decoded photographs,
and, where --workers says so, batches from as many worker processes of grain, compared byte by byte with those of none.
"""

import concurrent.futures
import os
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import side_by_side

import keras_epos

CLASSES, SAMPLES, SIZE = 8, 4, 96
FORMATS = ("arrayrecord", "tfrecord")


class Files:
    """Reads files as `Records` read records."""

    def __init__(self, paths):
        self.paths = paths
        self.readers = concurrent.futures.ThreadPoolExecutor(16)

    def read(self, rows):
        return list(self.readers.map(lambda row: Path(self.paths[row]).read_bytes(), rows))


def forget(folder):
    """Drop what the system keeps in memory of the files of a folder."""
    for path in Path(folder).rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def batches(split, load, steps=None, **options):
    return keras_epos.data.balanced_batches(
        split.inputs, split.labels, CLASSES, SAMPLES, load=load, steps=steps, small_classes="repeat", **options
    )


def same(first, second):
    return all(
        np.array_equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True)
    )


def main():
    parser = side_by_side.parser(__doc__, rounds=5)
    parser.add_argument("photographs", help="a folder of class folders")
    parser.add_argument("--steps", type=int, default=60, help="batches of a round")
    parser.add_argument("--workers", type=int, nargs="*", default=[], help="processes of grain, each number by itself")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        files = keras_epos.datasets.image_folder(args.photographs, test_classes=0).train
        bad = keras_epos.data.unreadable(files.inputs)
        files = files.take([row for row in range(len(files)) if row not in bad])
        splits, places = {}, {"files": args.photographs}
        for name in FORMATS:
            places[name] = Path(folder) / name
            keras_epos.data.write_shards(places[name], files.inputs, files.labels, files.class_names, format=name)
            splits[name] = keras_epos.datasets.shard_folder(places[name], test_classes=0).train
        measure(args, files, splits, places)
        for number in args.workers:
            compare(args, files, splits, number)
    print(f"\n{len(files):,} photographs, {CLASSES} classes x {SAMPLES} of {SIZE} pixels; {side_by_side.machine()}")


def measure(args, files, splits, places):
    indices = keras_epos.data.BatchIndices(files.labels, CLASSES, SAMPLES, small_classes="repeat")
    rows = [row.tolist() for row in indices(np.arange(args.steps))]
    readers = {"files": Files(files.inputs), **{name: split.inputs for name, split in splits.items()}}
    load = keras_epos.data.image_loader(SIZE, augment="crop_flip")

    def read(name, is_cold):
        if is_cold:
            forget(places[name])
        return [readers[name].read(batch) for batch in rows]

    def drain(split):
        return lambda: sum(1 for _, _ in batches(split, load, args.steps))

    found = {}
    for what in ("warm", "cold") if hasattr(os, "posix_fadvise") else ("warm",):
        contestants = {name: lambda name=name, what=what: read(name, what == "cold") for name in FORMATS}
        times = side_by_side.ratios(contestants, lambda what=what: read("files", what == "cold"), args.rounds)
        found[f"read, {what}"] = [1 / times[name] for name in FORMATS]
    times = side_by_side.ratios({name: drain(splits[name]) for name in FORMATS}, drain(files), args.rounds)
    found["batches, warm"] = [1 / times[name] for name in FORMATS]
    side_by_side.table("Rate as a multiple of that from files", FORMATS, found)
    assert all(read(name, False) == read("files", False) for name in FORMATS)
    assert all(
        same(list(batches(splits[name], load, args.steps)), list(batches(files, load, args.steps))) for name in FORMATS
    )
    print(f"\n{args.steps} batches of shards and of files: the same bytes")


def compare(args, files, splits, number):
    import grain

    load = keras_epos.data.image_loader(SIZE, augment="crop_flip")
    expected = list(batches(files, load, args.steps))
    for name, split in splits.items():
        options = grain.multiprocessing.MultiprocessingOptions(num_workers=number)
        stream = iter(batches(split, load, engine="grain").mp_prefetch(options))
        # Copies, as the memory is shared with the processes.
        found = [tuple(np.array(part) for part in next(stream)) for _ in range(args.steps)]
        stream.close()
        assert same(found, expected)
        print(f"{args.steps} batches of {name} from {number} worker processes: the same bytes")


if __name__ == "__main__":
    main()
