"""Time of a loss and its gradient, as a ratio to the one matrix product that no pair loss can do without.

    python benchmarks/losses.py --batch 128 512 1024
    python benchmarks/losses.py --every --batch 1024
    python benchmarks/losses.py --plot losses.png --batch 128 256 512 1024 2048 4096 8192

The contestants take turns in one process, and the median of the ratios is printed. pytorch-metric-learning takes part
where it is installed (`pip install pytorch-metric-learning torch`). It does not always compute the same: its
multi-similarity keeps all mined positives, and its distance-weighted miner draws one negative for each pair of
positives. Its losses run eagerly, as PyTorch's users run them.
"""

import os
from functools import partial

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import side_by_side
import tensorflow as tf

import keras_epos
from keras_epos import losses
from keras_epos.compat import tfa

# Larger batches would take minutes.
SLOW = {"tensorflow-addons semi-hard, compat": 2048, "PML easy margin, distance-weighted": 1024}
PEERS_UP_TO = 4096
# Compiled for XLA, or a graph: what `jit_compile="auto"` takes, and what TensorFlow takes without it.
HOW = {"XLA": True, "graph": False}


def ours(loss, jit_compile, labels, embeddings):
    @tf.function(jit_compile=jit_compile)
    def value_and_gradient(labels, embeddings):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            value = loss(labels, embeddings)
        return value, tape.gradient(value, embeddings)

    def run():
        value, gradient = value_and_gradient(labels, embeddings)
        return gradient.numpy()[0, 0] + value.numpy()

    return run


def floor(embeddings):
    return tf.matmul(embeddings, embeddings, transpose_b=True).numpy()[0, 0]


@tf.function
def _both_ways(embeddings):
    similarity = tf.matmul(embeddings, embeddings, transpose_b=True)
    return tf.matmul(similarity, embeddings)


def both_ways(embeddings):
    return _both_ways(embeddings).numpy()[0, 0]


def main_losses():
    return {
        "easy triplet, semi-hard": keras_epos.EasyPositiveTripletLoss(),
        "easy triplet, hard": keras_epos.EasyPositiveTripletLoss(negatives="hard"),
        "all-positive triplet, semi-hard": keras_epos.TripletLoss(),
        "easy margin, distance-weighted": keras_epos.MarginLoss(positives="easy"),
        "multi-similarity": keras_epos.MultiSimilarityLoss(),
        "easy multi-similarity": keras_epos.MultiSimilarityLoss(positives="easy"),
        "easy NT-Xent": keras_epos.NTXentLoss(positives="easy"),
        "contrastive": keras_epos.ContrastiveLoss(),
    }


def every_pair_loss():
    """Each pair loss with its nearest positive, and its own negatives."""
    special = {
        # What these choose is part of the loss.
        "EasyPositiveTripletLoss": {},
        "EasyPositiveHardNegativeLoss": {},
        "IntraPairVarianceLoss": {"positives": "easy", "negatives": "hard"},
    }
    found = {}
    for made in losses.LOSSES.values():
        # A tree of classes, and penalties, are no loss over pairs with strategies.
        if issubclass(made, losses.PairLoss) and made.__name__ not in ("HierarchicalTripletLoss", "SpreadOutPenalty"):
            found[made.__name__] = made(**special.get(made.__name__, {"positives": "easy"}))
    return found


def peers(labels, embeddings):
    size = len(labels)
    found = {"tensorflow-addons semi-hard, compat": ours(tfa.TripletSemiHardLoss(), False, labels, embeddings)}
    try:
        import torch
        from pytorch_metric_learning import losses as theirs
        from pytorch_metric_learning import miners
    except ImportError:
        return found
    rows, targets = torch.from_numpy(embeddings.numpy()), torch.from_numpy(labels.numpy())

    def run(loss, miner):
        leaf = rows.clone().requires_grad_()
        loss(leaf, targets, miner(leaf, targets)).backward()
        return leaf.grad[0, 0].item()

    triplet, margin = theirs.TripletMarginLoss(margin=0.2), theirs.MarginLoss()
    similarity = theirs.MultiSimilarityLoss(2, 40, 0.5)
    found |= {
        "PML easy triplet, semi-hard": partial(run, triplet, miners.BatchEasyHardMiner("easy", "semihard")),
        "PML multi-similarity": partial(run, similarity, miners.MultiSimilarityMiner(0.1)),
        "PML easy margin, distance-weighted": partial(run, margin, miners.DistanceWeightedMiner()),
    }
    return {name: one for name, one in found.items() if size <= SLOW.get(name, PEERS_UP_TO)}


def batch(size, dim, per_class):
    """Unit rows in clusters, as of a network that has learned something: `(labels, embeddings)`."""
    generator = np.random.default_rng(0)
    labels = np.arange(size) // per_class
    centers = generator.normal(size=(labels[-1] + 1, dim))
    rows = centers[labels] + generator.normal(size=(size, dim))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return tf.constant(labels), tf.constant(rows.astype("float32"))


def draw(path, sizes, rows, xlabel="Batch size", ylabel="Multiples of one matrix product"):
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), constrained_layout=True)
    axes.set_prop_cycle(color=plt.get_cmap("tab20").colors)
    # Graphs stand in the table; twice as many lines could not be told apart.
    for name, values in rows.items() if len(rows) < 12 else [row for row in rows.items() if "(graph)" not in row[0]]:
        pairs = [(size, value) for size, value in zip(sizes, values, strict=True) if value is not None]
        dashes = "--" if name.startswith(("PML", "tensorflow")) else "-"
        axes.plot(*zip(*pairs, strict=True), dashes, marker="o", markersize=3, label=name)
    axes.axhline(1, color="0.6", linewidth=1)
    axes.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel)
    axes.set_xticks(sizes, sizes)
    axes.minorticks_off()
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(path, dpi=150)


def main():
    parser = side_by_side.parser(__doc__, rounds=10)
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 512, 1024])
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--per-class", type=int, default=8)
    parser.add_argument("--every", action="store_true", help="every pair loss instead of the main ones, without peers")
    parser.add_argument("--plot", help="also draw the ratios over the batch size into this file")
    args = parser.parse_args()
    rows = {}
    for place, size in enumerate(args.batch):
        labels, embeddings = batch(size, args.dim, args.per_class)
        contestants = {"forward and backward product": partial(both_ways, embeddings)}
        for name, loss in (every_pair_loss() if args.every else main_losses()).items():
            for how, jit_compile in HOW.items():
                contestants[f"{name} ({how})"] = ours(loss, jit_compile, labels, embeddings)
        if not args.every:
            contestants |= peers(labels, embeddings)
        for name, ratio in side_by_side.ratios(contestants, partial(floor, embeddings), args.rounds).items():
            rows.setdefault(name, [None] * len(args.batch))[place] = ratio
    title = f"Loss and gradient, as multiples of one B x B product of {args.dim}-d rows (median of {args.rounds})"
    side_by_side.table(title, [f"B={size}" for size in args.batch], rows)
    if args.plot:
        draw(args.plot, args.batch, rows)


if __name__ == "__main__":
    main()
