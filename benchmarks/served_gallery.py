"""A gallery beyond 2 GB in a SavedModel: another process loads it, and must be answered as the gallery answers.

    python benchmarks/served_gallery.py --rows 1100000 --dim 512

2 GB is what a message of protobuf holds at most, so rows that were part of the graph could not be written. The rows are
random unit rows and the queries are some of them with noise. It takes the memory of the gallery four to five times, and
its size on the disk once; what is written is removed at the end.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import side_by_side

PART, K, QUERIES = 8_192, 10, 32


def rows_of(start, stop, dim):
    made = np.random.default_rng(start).standard_normal((stop - start, dim), dtype=np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def write(folder, args):
    """Export a gallery; leaves what it answers to the queries beside."""
    import keras

    import keras_epos

    gallery = keras_epos.Gallery(fingerprint="random rows", storage=args.storage)
    for start in range(0, args.rows, PART):
        stop = min(args.rows, start + PART)
        gallery.add(rows_of(start, stop, args.dim), range(start, stop))
    noise = np.random.default_rng(1).standard_normal((QUERIES, args.dim), dtype=np.float32)
    queries = rows_of(0, QUERIES, args.dim) + noise / args.dim**0.5
    found = gallery.search(queries, K, fingerprint="random rows")
    np.savez(folder / "expected.npz", queries=queries, ids=found.ids.astype(str), similarities=found.similarity)
    model = keras.Sequential([keras.Input((args.dim,), name="row"), keras.layers.Activation("linear")])
    began = time.perf_counter()
    path = keras_epos.export_savedmodel(model, folder / "served", gallery=gallery, fingerprint="random rows")
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    graph = (path / "saved_model.pb").stat().st_size
    print(f"{args.rows:,} x {args.dim}: {size / 1e9:.2f} GB, of which the graph is {graph / 1e6:.2f} MB")
    print(f"written, and compared with the gallery, in {time.perf_counter() - began:.0f} s", flush=True)


def ask(folder):
    """Load it by TensorFlow alone, and compare."""
    import tensorflow as tf

    began = time.perf_counter()
    loaded = tf.saved_model.load(str(folder / "served" / "1"))
    print(f"loaded by another process in {time.perf_counter() - began:.0f} s")
    expected = np.load(folder / "expected.npz")
    found = loaded.signatures["search"](embedding=tf.constant(expected["queries"]), k=tf.constant(K))
    differ = np.abs(found["similarities"].numpy() - expected["similarities"]).max()
    same = (found["ids"].numpy().astype(str) == expected["ids"]).mean()
    print(f"{QUERIES} queries: {same:.2%} of the {K} nearest are the same, similarities differ by {differ:.1e} at most")
    sys.exit(same < 1 or "keras_epos" in sys.modules)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--storage", choices=["float32", "float16"], default="float32")
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.ask:
        ask(args.ask)
    elif args.write:
        write(args.write, args)
    else:
        with tempfile.TemporaryDirectory() as folder:
            for step in ("--write", "--ask"):
                subprocess.run([sys.executable, *sys.argv, step, folder], check=True)
        print(f"\n{side_by_side.machine()}")


if __name__ == "__main__":
    main()
