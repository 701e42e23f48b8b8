"""Are the answers of a served gallery those that were promised? By the command line, on cars that nobody trained on.

    python studies/answers.py --data-dir data/cars196 --backbone backbone.keras --out runs/answers

Half of the car models train. Half of the others, drawn by the seed, make a gallery with a threshold; the rest is
unknown and calibrated nothing. The gallery is exported and asked in a process of its own, which has TensorFlow alone.
Called again, finished commands are passed over.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np


def main():
    args = parse_arguments()
    trained, known, unknown = arrange(args)
    place, model = known.parent, args.out / "run" / "model.keras"
    gallery, threshold, exported = (place / name for name in ("gallery", "threshold.json", "exported"))
    size = ("--image-size", args.image_size)
    command("train", trained, "--out", model.parent, "--backbone", args.backbone, "--epochs", args.epochs, *size)
    command("index", model, known, "-o", gallery)
    rate = ("--false-accept-rate", args.false_accept_rate)
    command("calibrate", model, known, *rate, "--gallery", gallery, "-o", threshold)
    shutil.rmtree(exported, ignore_errors=True)
    command("export", model, "-o", exported, "--format", "savedmodel", "--gallery", gallery)
    evaluated = json.loads(command("evaluate", model, known, "-k", "1", "--json").splitlines()[-1])
    own, others = ([str(path) for path in sorted(folder.glob("*/*"))] for folder in (known, unknown))
    # A new interpreter, which has imported nothing.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as server:
        served = exported / "savedmodel" / "embed" / "1"
        found = server.submit(ask, served, "search_bytes", own, k=2).result()
        matched = server.submit(ask, served, "match_bytes", others).result()
    report(json.loads(threshold.read_text()), evaluated, own, found, matched)
    embeddings, paths = place / "unseen.npy", place / "unseen.txt"
    if not embeddings.exists():
        paths.write_text("\n".join([*own, *others]))
        command("embed", model, paths, "-o", embeddings)
    labels = np.array([Path(path).parent.name for path in [*own, *others]])
    again(np.load(embeddings), labels, args.false_accept_rate, args.halves)


def report(threshold, evaluated, own, found, matched):
    valid = found["valid"].all() and matched["valid"].all()
    print(f"\n{len(own)} photographs in the gallery, {len(matched['valid'])} of unknown models; all valid: {valid}")
    # The nearest photograph but the query itself, which is the nearest of all unless it has a copy.
    is_own = found["ids"].astype(str) == np.array(own)[:, None]
    place = np.argmin(is_own, axis=1)
    labels = found["labels"].astype(str)[np.arange(len(own)), place]
    is_right = labels == np.array([Path(path).parent.name for path in own])
    same = "the same" if is_right.mean() == evaluated["recall@1"] else "NOT the same"
    print(
        f"Recall@1: {is_right.mean():.17g} by search_bytes, {evaluated['recall@1']:.17g} by keras-epos evaluate: {same}"
    )
    low, high = threshold["false_accept_interval"]
    print(f"Unknown photographs that may be accepted: {threshold['wanted']:.2%}, promised {low:.2%} to {high:.2%}")
    rate = matched["accepted"].mean()
    print(f"Accepted by match_bytes: {rate:.2%}, {'within' if low <= rate <= high else 'NOT within'} the interval")
    near = found["similarities"][np.arange(len(own)), place] >= threshold["value"]
    refused, wrong = 1 - near.mean(), (near & ~is_right).mean()
    print(f"Known photographs: {1 - refused - wrong:.2%} found, {refused:.2%} refused, {wrong:.2%} misidentified")


def again(embeddings, labels, wanted, number):
    """The same question to other halves, without a server: how often does the interval hold?"""
    from keras_epos import calibrate
    from keras_epos.retrieval import nearest

    rates, is_held = [], []
    for seed in range(number):
        is_known = half_of(labels, seed)
        threshold = calibrate(embeddings[is_known], labels[is_known], false_accept_rate=wanted)
        similarity, _ = nearest(embeddings[~is_known], embeddings[is_known], k=1)
        rates.append((similarity >= threshold.value).mean())
        is_held.append(threshold.false_accept_interval[0] <= rates[-1] <= threshold.false_accept_interval[1])
    if number:
        print(f"{number} halves: {np.mean(rates):.2%} accepted on average, {min(rates):.2%} to {max(rates):.2%}")
        print(f"Within its interval: {sum(is_held)} of {number}")


def ask(path, signature, files, **more):
    """All answers of a SavedModel to photographs, `{output: array}`, by TensorFlow alone."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    answers = []
    for start in range(0, len(files), 32):
        contents = tf.constant([Path(file).read_bytes() for file in files[start : start + 32]])
        inputs = {name: tf.constant(value) for name, value in more.items()}
        answers.append(loaded.signatures[signature](image_bytes=contents, **inputs))
    return {name: np.concatenate([answer[name].numpy() for answer in answers]) for name in answers[0]}


def arrange(args):
    """Folders of links to photographs, one a car model: those that train, the known and the unknown ones."""
    from keras_epos.data.datasets import cars196

    train, test = cars196(args.data_dir)
    is_known = half_of(test.labels, args.seed)
    half = args.out / f"half {args.seed}"
    parts = {
        args.out / "trained": train,
        half / "known": test.take(is_known),
        half / "unknown": test.take(~is_known),
    }
    for folder, split in parts.items():
        for path, label in zip(split.inputs, split.labels, strict=True):
            model = f"{label:03d} {split.class_names[label].replace('/', ' ')}"
            link = folder / model / Path(path).name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(Path(path).resolve())
    return parts


def half_of(labels, seed):
    """Booleans: whether each label is in a half of all labels, drawn by the seed."""
    classes = np.unique(labels)
    return np.isin(labels, np.random.default_rng(seed).permutation(classes)[: len(classes) // 2])


def command(*words):
    """Run a command of the command line, and return what it printed."""
    words = [str(word) for word in words]
    print(f"keras-epos {' '.join(words)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "keras_epos", *words], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"keras-epos {words[0]} ended with {done.returncode}")
    return done.stdout


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of Cars196")
    parser.add_argument("--backbone", required=True, help="a .keras file or a keras.applications name")
    parser.add_argument("--out", type=Path, default=Path("runs/answers"))
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--false-accept-rate", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0, help="which unseen models are known")
    parser.add_argument("--halves", type=int, default=20, help="how often the interval is tried once more")
    return parser.parse_args()


if __name__ == "__main__":
    main()
