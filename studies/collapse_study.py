"""Find out where easy positives keep the modes of classes, and where they do not, on one data set.

Every loss is trained with every kind of positives under every amount of label noise, with the same budget, and the
hidden modes are searched in the test part. Settings are chosen first, on held-out training samples with 10 % of
labels wrong, for all and for easy positives apart. A run that is in the results file is not repeated, so a stopped
command goes on where it was; several commands with different seeds may run at once.
"""

import argparse
import json
import logging
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import collapse_data
import keras
from collapse_arms import LIKE, POSITIVES, PROXY_RATE, SETTINGS, arms, choices, flipped_in_batches, make
from runs import append_row, forget_models, read_rows, refilled, write_whole

import keras_epos

RESULTS = Path(__file__).parent / "results"
DATA_SETS = ("mnist", "fashion", "fashion_full", "omniglot", "cars196")
KEYS = ("loss", "positives", "noise", "drawn", "samples", "steps", "seed")
SEED_OF_CHOICE = 1000


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("data_set", choices=DATA_SETS)
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="folder of the data set; fashion needs none")
    parser.add_argument("--backbone", default="EfficientNetV2B0", metavar="NAME", help="for the features of cars196")
    parser.add_argument("--losses", nargs="+", choices=SETTINGS, default=list(SETTINGS), metavar="NAME")
    parser.add_argument("--positives", nargs="+", choices=POSITIVES, default=list(POSITIVES), metavar="NAME")
    parser.add_argument("--noise", nargs="+", type=float, default=[0.0, 0.05, 0.1, 0.2], metavar="SHARE")
    parser.add_argument("--drawn", nargs="+", choices=("once", "anew"), default=["once"], help="when labels flip")
    parser.add_argument("--samples", nargs="+", type=int, metavar="N", help="samples of a class in a batch")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], metavar="N")
    parser.add_argument("--steps", type=int, metavar="N", help="batches of a run, if not those of the data set")
    parser.add_argument("--settings", type=as_settings, metavar="JSON", help="of the losses, instead of the chosen")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="results and settings")
    args = parser.parse_args()
    if args.settings is not None and args.out == RESULTS:
        parser.error("--settings needs an --out of its own, since results are kept by loss and positives")
    return args


def as_settings(text):
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError):
        raise argparse.ArgumentTypeError(f'must be JSON such as {{"temperature": 0.05}}. Received: {text}') from None


def main():
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    logging.getLogger("tensorflow").setLevel("ERROR")  # every run predicts with a new graph, of which TensorFlow warns
    task = collapse_data.load(args.data_set, args.data_dir, args.backbone)
    if args.steps:
        task = task._replace(steps=args.steps)
    chosen = settings_of(task, args) if args.settings is None else {}
    path = args.out / f"{args.data_set}.csv"
    for key in wanted(task, args):
        if key not in done(path):
            loss, positives = key[:2]
            started = time.perf_counter()
            settings = chosen.get((loss, LIKE.get(positives, positives)), args.settings)
            values = run(task, loss, positives, settings, *key[2:])
            append_row(path, KEYS, key, values)
            result = f"{main_measure(values):6.1%}  {time.perf_counter() - started:4.1f} s"
            print(f"{loss:<18}{positives:<10}{key[2]:4.0%} {key[3]}  x{key[4]} seed {key[6]}  {result}", flush=True)


def wanted(task, args):
    """Keys of all runs, the first seed first: a stopped study has all arms of some seeds."""
    for seed in args.seeds:
        yield "untrained", "", 0.0, "once", task.batch[1], 0, seed
        for samples in args.samples or [task.batch[1]]:
            for drawn in args.drawn:
                for noise in args.noise:
                    if noise > 0 or drawn == args.drawn[0]:
                        for loss, positives in arms(args.losses):
                            if positives in ("", *args.positives):
                                yield (loss, positives, noise, drawn if noise else "once", samples, task.steps, seed)


# --- a run ---


def run(task, loss, positives, settings, noise, drawn, samples, steps, seed):
    """Train one arm; return its measures on the test part."""
    keras.utils.set_random_seed(seed)
    num_classes = int(task.train.labels.max()) + 1
    model = new_model(task, loss, positives, settings, num_classes)
    labels = task.train.labels
    if drawn == "once":
        labels = keras_epos.data.symmetric_noise(labels, noise, seed)
    if steps:
        batches = keras_epos.data.balanced_batches(
            with_channel(task.train.inputs),
            labels,
            task.batch[0],
            samples,
            small_classes="repeat",
            seed=seed,
            steps=steps,
        )
        if drawn == "anew":
            batches = flipped_in_batches(batches, noise, num_classes, seed)
        model.fit(batches, verbose=0, shuffle=False)
    embeddings = model.predict(with_channel(task.test.inputs), batch_size=512, verbose=0)
    values = keras_epos.collapse.measure(embeddings, task.test.labels, task.test.modes)
    if task.test.modes is not None and task.test.modes.max() < 100:
        values["mode_nmi"] = keras_epos.collapse.mode_nmi(embeddings, task.test.modes)
    return values


def with_channel(inputs):
    return inputs[..., None] if inputs.ndim == 3 else inputs


def new_model(task, loss, positives, settings, num_classes):
    """A model with new weights."""
    model = keras_epos.EmbeddingModel(task.network(), 64)
    model.compile(
        keras.optimizers.Adam(1e-3),
        make(loss, positives, settings, num_classes),
        loss_optimizer=keras.optimizers.Adam(PROXY_RATE) if loss == "soft_triple" else None,
        steps_per_execution=20,
    )
    return refilled((loss, positives, str(settings)), model)


def main_measure(values):
    """Recall@1 of the hidden modes, or of the unseen classes where there are none."""
    return values.get("mode_recall@1", values["recall@1"])


# --- the choice of settings ---


def settings_of(task, args):
    """The best settings of each loss with all and with easy positives, from the held-out samples, kept in a file."""
    path = args.out / f"{args.data_set}-settings.json"
    kept = json.loads(path.read_text()) if path.exists() else []
    inner = task.for_choosing()
    for loss in args.losses:
        for positives in [""] if loss == "soft_triple" else ["all", "easy"]:
            for settings in choices(loss, positives):
                if any(row[:3] == [loss, positives, settings] for row in kept):
                    continue
                values = run(inner, loss, positives, settings, 0.1, "once", task.batch[1], task.steps, SEED_OF_CHOICE)
                kept.append([loss, positives, settings, main_measure(values)])
                text = "[\n" + ",\n".join(json.dumps(row) for row in kept) + "\n]\n"
                write_whole(path, lambda beside, text=text: beside.write_text(text))
                print(f"choosing: {loss:<18}{positives:<6}{main_measure(values):6.1%}  {settings}", flush=True)
    forget_models()
    return {(loss, positives): settings for loss, positives, settings, _ in sorted(kept, key=lambda row: row[3])}


# --- results ---


def done(path):
    """Keys of the runs in a file; a line that was cut off does not count."""
    return {tuple(row[name] for name in KEYS) for row in read_rows(path)}


if __name__ == "__main__":
    main()
