"""Galleries whose writers are killed: how many kills leave the gallery that was there, the new one, or damage.

    python benchmarks/gallery_kills.py --kills 50

A writer adds rows to a gallery and saves it, and is killed by SIGKILL at a random moment of that; with `--lance` also
in a table of LanceDB (`pip install lancedb`), where an addition is written at once. Then the gallery is opened as
anybody would: all files must be as they were written, and all rows those before the addition or those after it, with
the right embedding each. Fails if one is damaged. Not on Windows.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import keras_epos

DIM = 64


def rows_of(first, number):
    return np.random.default_rng(first).standard_normal((number, DIM), dtype=np.float32)


def write(kind, folder, first, number, pipe):
    """Add rows and save, and say how long that took."""
    gallery = opened(kind, folder)
    rows = rows_of(first, number)
    pipe.send("ready")
    start = time.perf_counter()
    gallery.add(rows, np.arange(first, first + number), payload=[{"first": first}] * number)
    if kind == "folder":
        gallery.save(folder)
    pipe.send(time.perf_counter() - start)


def opened(kind, folder):
    if kind == "folder":
        return keras_epos.Gallery.load(folder)
    return keras_epos.gallery.LanceGallery(folder)


def made(kind, folder, number):
    gallery = keras_epos.Gallery(storage="int8") if kind == "folder" else keras_epos.gallery.LanceGallery(folder)
    gallery.add(rows_of(0, number), np.arange(number))
    if kind == "folder":
        gallery.save(folder)


def started(context, *arguments):
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=write, args=(*arguments, sender), daemon=True)
    process.start()
    # So that the end of the process is the end of what it says.
    sender.close()
    assert receiver.recv() == "ready"
    return process, receiver


def found(kind, folder, first, number):
    """`"old"`, `"new"`, or what is wrong."""
    try:
        gallery = opened(kind, folder)
        count = len(gallery)
        if count not in (first, first + number):
            return f"{count} rows"
        for start in range(0, count, number):
            nearest = gallery.search(rows_of(start, number)[:50], 1).ids[:, 0]
            if (nearest != np.arange(start, start + 50)).any():
                return f"wrong rows from {start} on"
    except (OSError, ValueError, RuntimeError) as error:
        return repr(error)
    return "old" if count == first else "new"


def kills(kind, folder, args):
    """`{"old": kills, "new": kills}`, and what else was found."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["keras_epos"])
    generator, first, outcomes = np.random.default_rng(args.seed), args.rows, {"old": 0, "new": 0}
    made(kind, folder, first)
    # One that is not killed says how long it takes.
    process, receiver = started(context, kind, folder, first, args.rows)
    takes = receiver.recv()
    process.join()
    first += args.rows
    for _ in range(args.kills):
        process, _ = started(context, kind, folder, first, args.rows)
        time.sleep(generator.uniform(0, takes))
        process.kill()
        process.join()
        outcome = found(kind, folder, first, args.rows)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if outcome == "new":
            first += args.rows
    return outcomes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--rows", type=int, default=2000, help="of an addition, at least 50")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lance", action="store_true", help="a table of LanceDB too")
    args = parser.parse_args()
    damaged = 0
    for kind in ["folder", "LanceDB"][: 1 + args.lance]:
        with tempfile.TemporaryDirectory() as folder:
            outcomes = kills(kind, Path(folder) / "gallery", args)
        old, new = outcomes.pop("old"), outcomes.pop("new")
        wrong = sum(outcomes.values())
        print(f"{kind}: {args.kills} kills, {old} found the old gallery, {new} the new one, {wrong} damaged")
        damaged += wrong
        for outcome, number in outcomes.items():
            print(f"  {number} times: {outcome}")
    sys.exit(damaged > 0)


if __name__ == "__main__":
    main()
