"""An IVF-PQ index over many made vectors: recall, bytes, memory, and CPU time beside that of exact search.

    pip install -e ".[cpu,lancedb]"
    python benchmarks/billion_vectors.py --rows 1000000
    python benchmarks/billion_vectors.py --rows 10000000 --folder somewhere

The vectors are unit rows in classes of a hundred around random centers. They are written as shards, as
`keras_epos.scale.embed` writes them, added to a `LanceGallery` and indexed. Then 1,000 more vectors of the classes are
searched for, with several numbers of cells and of candidates, and the ten nearest compared with those of a search of
all rows by NumPy, whose CPU time is the unit of all times. Each step is a process of its own, for its memory. Rows take
`4 dim` bytes twice on the disk. What is in the folder already is not made again.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import side_by_side

K, PART, OF_A_CLASS = 10, 2**16, 100


def centers(case):
    return np.random.default_rng(0).standard_normal((max(1, case["rows"] // OF_A_CLASS), case["dim"]), np.float32)


def around(places, seed, spread):
    """A unit row around each of the centers."""
    rows = places + spread * np.random.default_rng(seed).standard_normal(places.shape, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def queries(case):
    made = centers(case)
    return around(made[np.random.default_rng(1).integers(0, len(made), case["queries"])], 2, case["spread"])


def make(case):
    """The shards."""
    import pyarrow as pa

    from keras_epos.gallery import _shards

    made, parts = centers(case), -(-case["rows"] // PART)
    job = {"model": "made vectors", "rows": case["rows"], "parts": parts, "job": "made", "dim": case["dim"]}
    _shards.begin(Path(case["folder"]), job)
    for number in range(parts):
        if not _shards.path_of(case["folder"], number).exists():
            ids = np.arange(number * PART, min((number + 1) * PART, case["rows"]))
            chosen = made[np.random.default_rng((3, number)).integers(0, len(made), len(ids))]
            rows = around(chosen, (4, number), case["spread"])
            _shards.write(case["folder"], number, pa.table({"id": ids}), rows, [None] * len(ids), "made")
    return {}


def exact(case):
    """The nearest rows of the queries by a product with all."""
    from keras_epos.scale import Shards

    wanted = queries(case)
    best, found = np.full((len(wanted), K), -np.inf, np.float32), np.zeros((len(wanted), K), np.int64)
    used = 0
    for ids, rows, _ in Shards(case["folder"]):
        start = time.process_time()
        for first in range(0, len(rows), 2**13):
            products = wanted @ rows[first : first + 2**13].T
            places = np.argpartition(-products, K, axis=1)[:, :K]
            values = np.concatenate([best, np.take_along_axis(products, places, axis=1)], axis=1)
            named = np.concatenate([found, ids[first + places]], axis=1)
            order = np.argsort(-values, axis=1)[:, :K]
            best, found = np.take_along_axis(values, order, axis=1), np.take_along_axis(named, order, axis=1)
        used += time.process_time() - start
    np.save(Path(case["folder"]) / "exact.npy", found)
    return {"cpu": used}


def gallery(case, **settings):
    from keras_epos.gallery import LanceGallery

    return LanceGallery(Path(case["folder"]) / "gallery.lance", fingerprint="made vectors", **settings)


def add(case):
    """The rows into the table."""
    from keras_epos.scale import Shards

    start = time.process_time()
    own = gallery(case)
    own.add_shards(Shards(case["folder"]))
    assert len(own) == case["rows"]
    return {"cpu": time.process_time() - start}


def index(case):
    """The index."""
    start = time.process_time()
    settings = {"num_partitions": case["cells"], "num_sub_vectors": case["codes"]}
    gallery(case).build_index("IVF_PQ", num_queries=0, **settings)
    indices = (Path(case["folder"]) / "gallery.lance" / "gallery.lance" / "_indices").rglob("*.idx")
    return {"cpu": time.process_time() - start, "bytes": max(file.stat().st_size for file in indices)}


def search(case):
    """Recall and CPU time of each setting."""
    wanted, true = queries(case), np.load(Path(case["folder"]) / "exact.npy")
    table = {}
    for nprobes in case["nprobes"]:
        for candidates in case["candidates"]:
            own = gallery(case, nprobes=nprobes, candidates=candidates)
            own.search(wanted[:2], K)
            start = time.process_time()
            ids = own.search(wanted, K).ids
            used = time.process_time() - start
            shared = [len(set(one) & set(other.tolist())) for one, other in zip(ids, true, strict=True)]
            table[f"{nprobes} cells, {candidates} candidates"] = [float(np.mean(shared)) / K, used]
    return {"table": table}


STEPS = {"make": make, "exact": exact, "add": add, "index": index, "search": search}


def measured(step, case):
    """What a step returns, in a process of its own; kept in the folder, so that it is not made again."""
    kept = Path(case["folder"]) / f"{step}.json"
    if not kept.exists() or step == "search":
        run = [sys.executable, sys.argv[0], "--one", json.dumps([step, case])]
        kept.write_text(subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
    return json.loads(kept.read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--spread", type=float, default=0.7, help="of a class, in the unit of the centers")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--cells", type=int, help="of the index; by default the root of the rows")
    parser.add_argument("--codes", type=int, help="bytes of a row in the index; by default a quarter of the dimensions")
    parser.add_argument("--nprobes", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--candidates", type=int, nargs="+", default=[2, 10])
    parser.add_argument("--folder", help="to work in, and to go on in; by default one that is removed again")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        step, case = args.one
        found = STEPS[step](case)
        print(json.dumps({**found, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
        return
    with tempfile.TemporaryDirectory() as place:
        case = {**vars(args), "folder": args.folder or place}
        case["cells"] = args.cells or max(1, round(args.rows**0.5))
        case["codes"] = args.codes or max(1, args.dim // 4)
        Path(case["folder"]).mkdir(parents=True, exist_ok=True)
        report(case, {step: measured(step, case) for step in STEPS})


def report(case, found):
    size, unit = f"{case['rows']:,} x {case['dim']}", found["exact"]["cpu"]
    steps = {"exact search": "exact", "into the table": "add", "index": "index", "search": "search"}
    rows = {name: [found[step].get("cpu", np.nan) / unit, found[step]["mb"]] for name, step in steps.items()}
    rows["search"][0] = None
    title = f"{size}: CPU time, as a multiple of exact search of {case['queries']:,} queries, and the largest memory"
    side_by_side.table(title, ["CPU time", "MB"], rows, unit="")
    print(f"\nIndex of {case['cells']} cells: {found['index']['bytes'] / case['rows']:.2f} bytes a row")
    rows = {name: [100 * recall, used / unit] for name, (recall, used) in found["search"]["table"].items()}
    side_by_side.table(f"{size}: of the exact ten, found, and CPU time", ["percent", "CPU time"], rows, unit="")


if __name__ == "__main__":
    main()
