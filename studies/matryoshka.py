"""Train with and without `Matryoshka`, cut the embeddings, and draw what the first dimensions find.

    python studies/matryoshka.py --plot matryoshka.png

The four coarse classes of the embedded clothes are learned, with easy positives; Recall@1 is that of the ten kinds they
hide. An embedding of 64 dimensions is cut to its first 2, 4, 8, 16 and 32.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from every_loss import Clothes

import keras_epos

DIMS = (2, 4, 8, 16, 32)
SIZE = 64


def trained(task, loss, seed, steps):
    """Recall@1 of the kinds, by number of dimensions."""
    keras.utils.set_random_seed(seed)
    model = keras_epos.EmbeddingModel(task.network(), SIZE)
    model.compile(keras.optimizers.Adam(1e-3), loss=loss)
    model.fit(task.batches(seed, steps), epochs=1, verbose=0, shuffle=False)
    embeddings = model.predict(task.test.inputs[..., None] / 1.0, verbose=0)
    return list(keras_epos.retrieval.recall_by_dim(embeddings, task.test.modes, dims=(*DIMS, SIZE)).values())


def draw(path, means):
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5), constrained_layout=True)
    for name, values in means.items():
        axes.plot((*DIMS, SIZE), 100 * values, marker="o", markersize=4, label=name)
    axes.set(xscale="log", xlabel="Dimensions kept", ylabel="Recall@1 of hidden kinds, %")
    axes.set_xticks((*DIMS, SIZE), (*DIMS, SIZE))
    axes.minorticks_off()
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--steps", type=int, default=250, metavar="N", help="batches of a run (default 250)")
    parser.add_argument("--plot", help="also draw Recall@1 over the dimensions into this file")
    args = parser.parse_args()
    task = Clothes()
    made = {
        "NT-Xent": lambda: keras_epos.NTXentLoss(0.1, positives="easy"),
        "Matryoshka of it": lambda: keras_epos.Matryoshka(keras_epos.NTXentLoss(0.1, positives="easy"), DIMS),
    }
    means = {}
    print(f"| Recall@1 of kinds, % | {' | '.join(map(str, (*DIMS, SIZE)))} |\n|---|" + "---|" * (len(DIMS) + 1))
    for name, loss in made.items():
        found = np.array([trained(task, loss(), seed, args.steps) for seed in args.seeds])
        means[name] = found.mean(axis=0)
        print(f"| {name} | " + " | ".join(f"{100 * value:.1f}" for value in means[name]) + " |")
    if args.plot:
        draw(args.plot, means)


if __name__ == "__main__":
    main()
