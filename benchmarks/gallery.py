"""Galleries: time beside faiss, memory, and what storages and indexes miss.

    python benchmarks/gallery.py --rows 100000 --dim 128
    python benchmarks/gallery.py --rows 1000000 --dim 512 --storages float32 int8 --indexes --queries 1 100 1000

The rows are unit rows in classes of ten around random centers, with nothing else in common: few indexes find such
neighbors easily. The floor of the time is faiss's exact `IndexFlatIP` where faiss is installed (`pip install
faiss-cpu`), and else `keras_epos.retrieval.nearest`, for the ten nearest of some queries. Memory is the largest of a
process that adds rows 8,190 at a time and searches once, without the rows themselves in the storage at hand. Linux
only.

The OpenBLAS of faiss may take a processor for an older one, and multiply half as fast as TensorFlow. Others on the
machine slow the threads of one down more than those of the other. With equal products, on one thread each:

    OPENBLAS_CORETYPE=SkylakeX OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 \\
        python benchmarks/gallery.py --rows 1000000 --dim 512 --storages float32 --indexes --cpu-time
"""

import json
import os
import sys
from functools import partial

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import side_by_side

import keras_epos
from keras_epos.gallery import Faiss

STORAGES = {"float32": 4, "float16": 2, "int8": 1, "binary": 1 / 8}
INDEXES = {
    "HNSW32": Faiss("HNSW32", "efSearch=64"),
    "IVF,Flat": Faiss("IVF{cells},Flat", "nprobe=16"),
    "IVF,PQ": Faiss("IVF{cells},PQ{half}", "nprobe=16", candidates=10),
    "IVF,RaBitQ": Faiss("IVF{cells},RaBitQ", "nprobe=16", candidates=10),
}
PART = 8_190
K = 10


def rows_of(start, stop, dim, spread):
    """Rows from `start` up to `stop`, the same whatever the part, in ten rounds over all classes."""
    generator = np.random.default_rng((1, start))
    made = generator.standard_normal((stop - start, dim), dtype=np.float32)
    made *= spread
    for first in range(start, stop, 10):
        made[first - start : first - start + 10] += np.random.default_rng((0, first)).standard_normal(
            dim, dtype=np.float32
        )
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made


def parts(num_rows, dim, spread):
    for start in range(0, num_rows, PART):
        stop = min(num_rows, start + PART)
        yield np.arange(start, stop), rows_of(start, stop, dim, spread)


def queries_of(num_queries, num_rows, dim, spread):
    """One more row of each of some classes, and the classes."""
    classes = np.random.default_rng(2).permutation(num_rows // 10)[np.arange(num_queries) % (num_rows // 10)]
    centers = [np.random.default_rng((0, 10 * one)).standard_normal(dim, dtype=np.float32) for one in classes]
    rows = np.stack(centers) + spread * np.random.default_rng(3).standard_normal((num_queries, dim), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), classes


def gallery(args, storage="float32", engine="exact"):
    made = keras_epos.Gallery(storage=storage, engine=engine)
    for ids, rows in parts(args.rows, args.dim, args.spread):
        made.add(rows, ids, ids // 10)
    return made


def memory(case):
    """Print what a process takes above the rows in their storage."""
    keras_epos.Gallery().search(np.eye(case["dim"], dtype=np.float32)[:1], 1)
    small = keras_epos.Gallery(storage=case["storage"])
    small.add(rows_of(0, 9_000, case["dim"], case["spread"]), range(9_000))
    queries, _ = queries_of(case["queries"], case["rows"], case["dim"], case["spread"])
    small.search(queries, K)
    del small

    def run():
        gallery(side_by_side.argparse.Namespace(**case), case["storage"]).search(queries, K)

    side_by_side.peak_above(run)


def engines(args):
    """Name and settings of each gallery."""
    found = {storage: {"storage": storage} for storage in args.storages}
    try:
        import faiss  # noqa: F401
    except ImportError:
        return found
    cells, half = max(1, int(args.rows**0.5)), max(1, args.dim // 2)
    for name in args.indexes:
        engine = INDEXES[name]
        factory = engine.factory.format(cells=cells, half=half)
        found[f"faiss {name}"] = {"engine": Faiss(factory, engine.settings, engine.candidates)}
    return found


def floor_of(args):
    """A search of queries, and its name."""
    try:
        import faiss
    except ImportError:
        rows = np.concatenate([rows for _, rows in parts(args.rows, args.dim, args.spread)])
        return lambda queries: keras_epos.retrieval.nearest(queries, rows, K), "retrieval.nearest"
    index = faiss.IndexFlatIP(args.dim)
    for _, rows in parts(args.rows, args.dim, args.spread):
        index.add(rows)
    return lambda queries: index.search(queries, K), "faiss IndexFlatIP"


def main():
    parser = side_by_side.parser(__doc__, rounds=5)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--spread", type=float, default=1.3, help="of a class, where classes are 1 apart")
    parser.add_argument("--storages", nargs="*", choices=STORAGES, default=list(STORAGES))
    parser.add_argument("--indexes", nargs="*", choices=INDEXES, default=list(INDEXES))
    parser.add_argument("--cpu-time", action="store_true", help="compare CPU time of all threads, not time")
    parser.add_argument("--one", type=json.loads, help="measure the memory of this case only")
    args = parser.parse_args()
    if args.one:
        memory(args.one)
        return
    size = f"{args.rows:,} x {args.dim}"
    used = {}
    for storage, width in STORAGES.items():
        if storage in args.storages:
            case = {name: getattr(args, name) for name in ("rows", "dim", "spread")}
            peak = side_by_side.memory_of(sys.argv[0], {**case, "storage": storage, "queries": max(args.queries)})
            rows = args.rows * args.dim * width / 2**20
            used[storage] = [rows, peak - rows]
    if used:
        side_by_side.table(f"MB at {size}", ["the rows", "above them"], used, unit="")
    search, name = floor_of(args)
    asked = {number: queries_of(number, args.rows, args.dim, args.spread) for number in args.queries}
    queries, classes = asked[max(args.queries)]
    exact = gallery(args)
    reference = exact.search(queries, K)
    times, recalls = {}, {}
    for engine, settings in engines(args).items():
        made = exact if engine == "float32" else gallery(args, **settings)
        found = made.search(queries, K)
        shared = [len(set(own) & set(exact)) for own, exact in zip(found.ids, reference.ids, strict=True)]
        recalls[engine] = [
            100 * np.mean(found.labels[:, 0] == classes),
            100 * np.mean(found.labels[:, 0] == classes) - 100 * np.mean(reference.labels[:, 0] == classes),
            100 * np.mean(shared) / K,
        ]
        times[engine] = []
        for own, _ in asked.values():
            contestants = {engine: partial(made.search, own, K)}
            turns = side_by_side.turns(contestants, partial(search, own), args.rounds)[engine]
            times[engine].append(side_by_side.median(turns, clock=int(args.cpu_time)))
    columns = ["Recall@1", "lost", "of the ten"]
    side_by_side.table(f"Recall at {size}, {max(args.queries)} queries, in percent", columns, recalls, unit="")
    columns = [f"Q={number:,}" for number in asked]
    clock = "CPU time" if args.cpu_time else "Time"
    side_by_side.table(f"{clock} as a multiple of {name} at {size} (median of {args.rounds})", columns, times)


if __name__ == "__main__":
    main()
