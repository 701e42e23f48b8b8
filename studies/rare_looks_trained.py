"""What a curriculum does to the rare looks of a class: Recall@1 of rare kinds after training in stages.

The setting of rare_looks.py, with easy positives. The parts come from an embedding that was trained on everything; then
an embedding starts anew, with the same number of steps on everything, on the clean part alone, or in three stages.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import rare_looks
from runs import Results, small_network

import keras_epos
from keras_epos import curriculum
from keras_epos.data import symmetric_noise

WAYS = ("everything", *(f"{what}, {rule}" for rule in ("quantile", "agreement") for what in ("clean", "stages")))
KEYS = ("noise", "rare", "way", "seed")
MEASURES = ("rare_recall", "other_recall")
STEPS = 60  # of an epoch; there are three


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--noise", nargs="+", type=float, default=[0.2], metavar="SHARE", help="wrong labels")
    parser.add_argument("--rare", nargs="+", type=int, default=[20, 60], metavar="N", help="samples of a rare kind")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", metavar="DIR")
    return parser.parse_args()


def main():
    args = parse_arguments()
    done = Results(args.out / "rare_looks_trained.csv", KEYS, MEASURES)
    for seed in args.seeds:
        for noise in args.noise:
            for rare in args.rare:
                key = (str(noise), str(rare))
                if (*key, WAYS[-1], str(seed)) not in done:
                    found = run(noise, rare, seed)
                    for way, values in found.items():
                        done[(*key, way, str(seed))] = values
                    print(*key, "seed", seed, flush=True)
    print_table(done)


def run(noise, num_rare, seed):
    """Recall@1 of the rare and of the other kinds, for each way of training."""
    train, test = keras_epos.datasets.fashion_sample()
    train, _ = rare_looks.with_rare_kinds(train, num_rare, seed)
    labels = symmetric_noise(train.labels, noise, seed)
    everything = np.zeros(len(labels), np.int64)
    model = trained(train, labels, everything, (3, 0, 0), seed)
    embeddings = model.predict(train.inputs[..., None], batch_size=500, verbose=0)
    found = {"everything": recall(model, test)}
    for rule in ("quantile", "agreement"):
        parts = curriculum.split(embeddings, labels, rule=rule)
        for what, epochs in (("clean", (3, 0, 0)), ("stages", (1, 1, 1))):
            found[f"{what}, {rule}"] = recall(trained(train, labels, parts, epochs, seed), test)
    return found


def trained(train, labels, parts, epochs, seed):
    keras.utils.set_random_seed(seed)
    model = keras_epos.EmbeddingModel(small_network(), 64)
    model.compile(keras.optimizers.Adam(1e-3), keras_epos.TripletLoss(positives="easy"), steps_per_execution=20)
    batches = curriculum.StagedBatches(
        train.inputs[..., None],
        labels,
        parts,
        epochs,
        classes_per_batch=4,
        samples_per_class=32,
        steps=STEPS,
        small_classes="repeat",
        seed=seed,
    )
    stages = keras_epos.StageByEpoch(batches)
    model.fit(batches, epochs=sum(epochs), shuffle=False, verbose=0, callbacks=[stages])
    return model


def recall(model, test):
    """Recall@1 of the hidden kinds, for test images of the rare kinds and of the others, searched among all."""
    embeddings = model.predict(test.inputs[..., None], batch_size=500, verbose=0)
    is_rare = np.isin(test.modes, [test.mode_names.index(kind) for kind in rare_looks.RARE.values()])
    ids = np.arange(len(test))
    return [
        keras_epos.retrieval.evaluate(
            embeddings[rows],
            test.modes[rows],
            embeddings,
            test.modes,
            k=1,
            metrics="recall",
            ids=ids[rows],
            gallery_ids=ids,
        )["recall@1"]
        for rows in (is_rare, ~is_rare)
    ]


def print_table(done):
    print("\nRecall@1 of kinds in %: mean over seeds, and half their range.\n")
    print("| noise | rare kinds have | trained on | rare kinds | other kinds |\n|---|---|---|---|---|")
    for key in dict.fromkeys(key[:3] for key in done):
        values = 100 * np.array([row for other, row in done.items() if other[:3] == key])
        cells = [f"{mean:.1f} ± {half:.1f}" for mean, half in zip(values.mean(0), np.ptp(values, 0) / 2, strict=True)]
        print("| " + " | ".join([f"{float(key[0]):.0%}", *key[1:], *cells]) + " |")


if __name__ == "__main__":
    main()
