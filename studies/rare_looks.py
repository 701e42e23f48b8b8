"""Does a split by density take the rare looks of a class for wrong labels, and does a local density help?

Four coarse classes of clothes are trained under label noise, with one kind of each class of several kinds made rare.
Then every class is split by each rule. The table says which part of the right samples of the rare kinds, of the other
kinds, and of the wrong labels is taken for clean and for highly noisy.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from runs import Results, small_network

import keras_epos
from keras_epos import curriculum
from keras_epos.data import balanced_batches, symmetric_noise

# The kind of each class that is made rare: a coat among tops, a dress among long wear, a boot among shoes.
RARE = {"tops": "Coat", "long wear": "Dress", "shoes": "Boot"}
KEYS = ("positives", "noise", "rare", "rule", "seed")
STEPS = 200
MEASURES = ("alike", "clean_rare", "noisy_rare", "clean_other", "noisy_other", "clean_wrong", "noisy_wrong")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--positives", nargs="+", default=["all", "easy"], help="of the triplet loss that embeds")
    parser.add_argument("--noise", nargs="+", type=float, default=[0.05, 0.2], metavar="SHARE", help="wrong labels")
    parser.add_argument("--rare", nargs="+", type=int, default=[20, 60], metavar="N", help="samples of a rare kind")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help="batches of 4 classes x 32 samples")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", metavar="DIR")
    return parser.parse_args()


def main():
    args = parse_arguments()
    path = args.out / ("rare_looks.csv" if args.steps == STEPS else f"rare_looks-{args.steps}-steps.csv")
    done = Results(path, KEYS, MEASURES)
    for seed in args.seeds:
        for positives in args.positives:
            for noise in args.noise:
                for rare in args.rare:
                    key = (positives, str(noise), str(rare))
                    if (*key, curriculum.RULES[-1], str(seed)) not in done:
                        found = run(positives, noise, rare, seed, args.steps)
                        for rule, values in found.items():
                            done[(*key, rule, str(seed))] = values
                        print(*key, "seed", seed, flush=True)
    print_table(done)


def run(positives, noise, num_rare, seed, steps):
    """Measures for each rule, from one embedding."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    train = keras_epos.datasets.fashion_sample().train
    train, is_rare = with_rare_kinds(train, num_rare, seed)
    labels = symmetric_noise(train.labels, noise, seed)
    is_wrong = labels != train.labels
    images = train.inputs[..., None]
    model = keras_epos.EmbeddingModel(small_network(), 64)
    model.compile(keras.optimizers.Adam(1e-3), keras_epos.TripletLoss(positives=positives), steps_per_execution=20)
    model.fit(balanced_batches(images, labels, 4, 32, seed=seed, steps=steps), verbose=0, shuffle=False)
    embeddings = model.predict(images, batch_size=512, verbose=0)
    groups = {"rare": is_rare & ~is_wrong, "other": ~is_rare & ~is_wrong, "wrong": is_wrong}
    alike = np.bincount(labels[is_wrong] * 10 + train.modes[is_wrong]).max()
    found = {}
    for rule in curriculum.RULES:
        parts = curriculum.split(embeddings, labels, rule=rule).parts
        shares = [np.mean(parts[group] == part) for group in groups.values() for part in (0, 2)]
        found[rule] = [float(alike), *map(float, shares)]
    return found


def with_rare_kinds(train, num_rare, seed):
    """The split with `num_rare` samples left of each rare kind, and which samples those are."""
    generator = np.random.default_rng(seed)
    rare = [train.mode_names.index(kind) for kind in RARE.values()]
    dropped = [generator.permutation(np.flatnonzero(train.modes == kind))[num_rare:] for kind in rare]
    kept = np.setdiff1d(np.arange(len(train)), np.concatenate(dropped))
    train = train.take(kept)
    return train, np.isin(train.modes, rare)


def print_table(done):
    print("\nOf each group, how much is taken for clean / for highly noisy, in %; means over seeds.")
    print("`alike` is the largest number of wrong labels of a class that are of one kind.\n")
    print("| positives | noise | rare kinds have | alike | rule | right, rare kinds | right, other kinds | wrong |")
    print("|---|---|---|---|---|---|---|---|")
    for key in dict.fromkeys(key[:4] for key in done):
        alike, *shares = np.mean([values for other, values in done.items() if other[:4] == key], axis=0)
        positives, noise, rare, rule = key
        cells = [positives, f"{float(noise):.0%}", rare, f"{alike:.0f}", rule]
        cells += [
            f"{100 * clean:.0f} / {100 * noisy:.0f}" for clean, noisy in zip(shares[::2], shares[1::2], strict=True)
        ]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
