"""Time of a loss and its gradient, as a ratio to the one matrix product that no pair loss can do without.

    python benchmarks/losses.py --batch 128 512 1024
    python benchmarks/losses.py --every --batch 1024
    python benchmarks/losses.py --of "easy triplet, semi-hard" multi-similarity
    python benchmarks/losses.py --plot losses.png --batch 128 256 512 1024 2048 4096 8192 16384 32768 65536

Losses that make a matrix of all pairs, and the peers, stop at 4,096 rows, others do not. Beyond 16,384 rows, 1 GB, the
one product is made of products of 4,096 rows each, nothing is kept of them, and rounds are a quarter as many.

The contestants take turns in one process, and the median of the ratios is printed. pytorch-metric-learning takes part
where it is installed (`pip install pytorch-metric-learning torch`). It does not always compute the same: its
multi-similarity keeps all mined positives, and its distance-weighted miner draws one negative for each pair of
positives. Its losses run eagerly, as PyTorch's users run them.

    python benchmarks/peers.py --python python3.11 --into .venv-old-peers
    python benchmarks/losses.py --old-peers .venv-old-peers/bin/python

also times TensorFlow Similarity and tensorflow-addons, in a process with the TensorFlow that they need; what is not
alike there stands in `old_peers.py`.
"""

import contextlib
import os
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import side_by_side
from floors import WHOLE, batch, both_ways, floor, with_gradient

import keras_epos
from keras_epos import losses
from keras_epos.compat import tfa

# Larger batches would take minutes.
SLOW = {
    "tensorflow-addons semi-hard, compat": 2048,
    "PML easy margin, distance-weighted": 1024,
    # Memory grows with the cube of the batch: 4 GB here, 32 at twice the batch.
    "TF-addons triplet, semi-hard": 512,
}
# A matrix of all pairs has 64 MB here, of which PyTorch and others make many.
ALL_PAIRS_UP_TO = 4096
# Compiled by XLA, or a graph: what Keras takes by itself with an accelerator, and with nothing but a CPU.
HOW = {"XLA": True, "graph": False}


def main_losses():
    return {
        "easy triplet, semi-hard": keras_epos.EasyPositiveTripletLoss(),
        "easy triplet, hard": keras_epos.EasyPositiveTripletLoss(negatives="hard"),
        "all-positive triplet, semi-hard": keras_epos.TripletLoss(),
        "hard triplet, hard": keras_epos.TripletLoss(positives="hard", negatives="hard"),
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
    found = {"tensorflow-addons semi-hard, compat": with_gradient(tfa.TripletSemiHardLoss(), False, labels, embeddings)}
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
    return found | {
        "PML easy triplet, semi-hard": partial(run, triplet, miners.BatchEasyHardMiner("easy", "semihard")),
        "PML multi-similarity": partial(run, similarity, miners.MultiSimilarityMiner(0.1)),
        "PML easy margin, distance-weighted": partial(run, margin, miners.DistanceWeightedMiner()),
    }


def contestants(args, old_peers, size):
    """`{name: run}` with a batch of `size`, and the floor."""
    labels, embeddings = batch(size, args.dim, args.per_class)
    found = {}
    if size <= ALL_PAIRS_UP_TO:
        found["forward and backward product"] = partial(both_ways, embeddings)
    losses = every_pair_loss() if args.every else main_losses()
    for name in args.of or losses:
        chooses = losses[name].positives.is_by_anchor and losses[name].negatives.is_by_anchor
        for how, jit_compile in HOW.items():
            if chooses or size <= ALL_PAIRS_UP_TO:
                found[f"{name} ({how})"] = with_gradient(losses[name], jit_compile, labels, embeddings)
    theirs = {} if args.every else peers(labels, embeddings)
    if old_peers:
        names = old_peers.ask("batch", size, args.dim, args.per_class)
        theirs |= {name: side_by_side.Elsewhere(old_peers, name) for name in names}
    found |= {name: run for name, run in theirs.items() if size <= SLOW.get(name, ALL_PAIRS_UP_TO)}
    return found, partial(floor, embeddings)


def draw(path, sizes, rows, xlabel="Batch size", ylabel="Multiples of one matrix product"):
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), constrained_layout=True)
    axes.set_prop_cycle(color=plt.get_cmap("tab20").colors)
    # Graphs stand in the table; twice as many lines could not be told apart.
    for name, values in rows.items() if len(rows) < 12 else [row for row in rows.items() if "(graph)" not in row[0]]:
        pairs = [(size, value) for size, value in zip(sizes, values, strict=True) if value is not None]
        dashes = "--" if name.startswith(("PML", "TF-", "tensorflow")) else "-"
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
    parser.add_argument("--of", nargs="+", metavar="LOSS", help="only these, as the table names them")
    parser.add_argument("--old-peers", metavar="PYTHON", help="the Python of the environment that peers.py set up")
    parser.add_argument("--plot", help="also draw the ratios over the batch size into this file")
    args = parser.parse_args()
    known = every_pair_loss() if args.every else main_losses()
    if unknown := set(args.of or ()) - set(known):
        parser.error(f"`--of` must be of {', '.join(known)}. Received: {', '.join(sorted(unknown))}")
    rows = {}
    with contextlib.ExitStack() as stack:
        old_peers = None
        if args.old_peers:
            script = Path(__file__).with_name("old_peers.py")
            old_peers = stack.enter_context(side_by_side.Process(args.old_peers, script))
        for place, size in enumerate(args.batch):
            rounds = args.rounds if size <= WHOLE else -(-args.rounds // 4)
            for name, ratio in side_by_side.ratios(*contestants(args, old_peers, size), rounds).items():
                rows.setdefault(name, [None] * len(args.batch))[place] = ratio
        title = f"Loss and gradient, as multiples of one B x B product of {args.dim}-d rows (median of {args.rounds})"
        side_by_side.table(title, [f"B={size}" for size in args.batch], rows)
        if old_peers:
            print(f"Old peers: {old_peers.ask('machine')}")
    if args.plot:
        draw(args.plot, args.batch, rows)


if __name__ == "__main__":
    main()
