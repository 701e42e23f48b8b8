"""Kill commands at random moments, and look at what they leave.

    pip install -e ".[cpu]"
    python benchmarks/kills.py                                   # fifty of each command
    python benchmarks/kills.py --commands train --kills 10

Each command runs whole once, for its result and its time. Then it is killed (SIGKILL) at a moment drawn from that time,
and given again until it ends. After a kill every result that stands under its name must be the whole one, or
what was there before; and the result at the end must be the same as without a kill. Each run is a process of its
own, forked from one that has imported the package, so that the moments fall into the work and not into the imports.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import keras
import numpy as np

import keras_epos
from keras_epos.cli import _embedding
from keras_epos.cli._main import commands

SIZE = 16
# What a command writes, beside `place`.
WHOLE = {"embed": ["out.npy", "out.paths.txt"], "index": ["out"], "export": ["out"], "pack": ["out"], "train": ["out"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", nargs="+", choices=list(WHOLE), default=list(WHOLE))
    parser.add_argument("--kills", type=int, default=50, help="of each command")
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    # Small parts, so that kills fall between them; and no compiling, which would be most of the time.
    _embedding.PART = 8
    keras.Model._resolve_auto_jit_compile = lambda model: False
    generator = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        forked(lambda: make(folder, args.images))
        for name in args.commands:
            print(f"{name}: {in_words(kills(folder, name, args.kills, generator))}", flush=True)


def in_words(found):
    return ", ".join(f"{number} {what}" for what, number in found.items())


def make(folder, number):
    """Photographs, a network to train, and a model to embed with."""
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    for place in range(number):
        path = folder / "photographs" / f"class {place % 6}" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        color = np.array([40, 90, 140]) + 15 * (place % 6)
        image = np.clip(color + generator.integers(-40, 40, (20, 24, 3)), 0, 255)
        keras.utils.save_img(path, image, scale=False)
    (folder / "photographs" / "class 0" / "damaged.jpg").write_text("no image")
    layers = [keras.Input((None, None, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(8, 3, 2)]
    keras.Sequential(layers).save(folder / "backbone.keras")
    layers = [keras.Input((SIZE, SIZE, 3)), *layers[1:], keras.layers.Flatten()]
    keras_epos.EmbeddingModel(keras.Sequential(layers), 8).save(folder / "model.keras")


def command(folder, name, place):
    if name == "train":
        options = "--image-size 16 --epochs 3 --samples 4 --hold-out 0.5 --false-accept-rate 0.5"
        options = ["--backbone", folder / "backbone.keras", *options.split()]
        return ["train", folder / "photographs", "--out", place / "out", *options]
    if name == "pack":
        return ["pack", folder / "photographs", "-o", place / "out", "--format", "tfrecord", "--records", 8]
    model = folder / "model.keras"
    if name == "export":
        return ["export", model, "-o", place / "out", "--format", "savedmodel"]
    return [name, model, folder / "photographs", "-o", place / ("out.npy" if name == "embed" else "out")]


def kills(folder, name, number, generator):
    """Counts of what was seen; stops at the first fault."""
    whole = folder / f"{name} whole"
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir()
    began = time.perf_counter()
    code = forked(lambda: run(command(folder, name, whole)))
    seconds = time.perf_counter() - began
    if code:
        sys.exit(f"{name}: ended with {code}")
    expected = answer(folder, name, whole)
    found = {"kills": 0, "with a result already": 0, "resumed with the same result": 0}
    while found["kills"] < number:
        place = folder / f"{name} killed"
        place.mkdir()
        began = time.perf_counter()
        code = forked(lambda place=place: run(command(folder, name, place)), generator.uniform(0, seconds))
        if code != -signal.SIGKILL:
            check(name, code == 0, f"ended with {code}")
            # Quicker than the first one, so that moments beyond its end would hit nothing.
            seconds = min(seconds, time.perf_counter() - began)
        else:
            found["kills"] += 1
            there = [(place / one).exists() for one in WHOLE[name]]
            if is_done(name, place):
                found["with a result already"] += 1
                check(name, all(there) and answer(folder, name, place) == expected, "a half-written result")
                # Given again, `embed` and `export` refuse to overwrite a result.
            if (
                name in ("index", "pack", "train")
                or not is_done(name, place)
                or (place / "out.npy.unfinished").exists()
            ):
                code = forked(lambda place=place: run(command(folder, name, place)))
                check(name, code == 0, f"exit code {code} when it was given again")
            check(name, answer(folder, name, place) == expected, "another result after going on")
            left = [path.name for path in place.iterdir() if "unfinished" in path.name]
            check(name, not left, f"left over: {left}")
            found["resumed with the same result"] += 1
        shutil.rmtree(place)
    return found


def check(name, holds, what):
    if not holds:
        sys.exit(f"{name}: {what}")


def is_done(name, place):
    """Whether what stands there would be taken for a result."""
    if name == "embed":
        return (place / "out.npy").exists()
    if name == "index":
        return (place / "out" / "gallery.json").exists()
    if name == "train":
        record = place / "out" / "metrics.json"
        return record.exists() and json.loads(record.read_text())["finished"]
    return (place / "out").exists()


def answer(folder, name, place):
    """All that a result says, as JSON: the same for two results that are alike."""
    out = place / "out"
    if name == "embed":
        rows = np.load(place / "out.npy").tobytes().hex()
        return [rows, *((place / f"out.{kind}.txt").read_text() for kind in ("paths", "unreadable"))]
    if name == "index":
        return gallery(out)
    if name == "train":
        record = json.loads((out / "metrics.json").read_text())
        card = (out / "README.md").read_text()
        return [record, gallery(out / "gallery"), json.loads((out / "threshold.json").read_text()), card]
    if name == "pack":
        return {path.name: path.read_bytes().hex() for path in sorted(out.iterdir())}
    # Its graph is written in another order each time, so it is asked.
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    code = forked(lambda: ask(out, place / "embeddings.npy"))
    check(name, code == 0, "a SavedModel that cannot be loaded")
    return [files, np.load(place / "embeddings.npy").tolist()]


def ask(out, path):
    """Keep what a SavedModel makes of some noise."""
    import tensorflow as tf

    images = np.random.default_rng(0).uniform(0, 255, (4, SIZE, SIZE, 3)).astype(np.float32)
    embed = tf.saved_model.load(str(out / "savedmodel" / "embed" / "1")).signatures["embed"]
    np.save(path, embed(image=tf.constant(images))["embedding"].numpy())


def gallery(folder):
    """Ids, labels, embeddings and threshold, with every SHA-256 compared."""
    loaded = keras_epos.Gallery.load(folder)
    rows = [entry.read_bytes().hex() for entry in sorted(folder.glob("*.values.npy"))]
    threshold = loaded.threshold and loaded.threshold.get_config()
    return [loaded.ids.tolist(), loaded.labels.tolist(), rows, loaded.fingerprint, threshold]


def run(arguments):
    commands([str(one) for one in arguments], prog_name="keras-epos")


def forked(work, seconds=None):
    """Do it in a process of its own, which is killed after some seconds; its exit code, or minus the signal."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            for number in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            work()
            code = 0
        except SystemExit as error:
            code = error.code or 0
        finally:
            os._exit(code)
    timer = seconds is not None and threading.Timer(seconds, os.kill, (child, signal.SIGKILL))
    if timer:
        timer.start()
    _, status = os.waitpid(child, 0)
    if timer:
        timer.cancel()
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    main()
