"""Draw how strongly each loss pulls a positive and pushes a negative, over their similarity to the anchor.

In general pair weighting (Wang et al. 2019) a loss is its pair weights, the derivatives by the similarities. One
anchor has two positives and three negatives; all stay where they are but for one, which moves from -1 to 1. Each curve
is divided by its largest value in both panels: compare the shapes, not the heights of different losses.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from keras import ops
from plots import OTHERS, RIGHT, WRONG

import keras_epos

LABELS = np.array([0, 0, 0, 1, 2, 3])
POSITIVES, NEGATIVES = (0.6, 0.3), (0.5, 0.2, -0.1)
LOSSES = {
    "contrastive": keras_epos.ContrastiveLoss(0.9, 0.3),
    "triplet": keras_epos.TripletLoss(0.3, "cosine", negatives="all"),
    "multi_similarity": keras_epos.MultiSimilarityLoss(epsilon=None),
    "circle": keras_epos.CircleLoss(0.4, 16.0),
    "binomial_deviance": keras_epos.BinomialDevianceLoss(),
    "nt_xent": keras_epos.NTXentLoss(0.1),
}
COLORS = (RIGHT, WRONG, *OTHERS)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--losses", nargs="+", choices=LOSSES, default=list(LOSSES), metavar="NAME", help="which to draw"
    )
    parser.add_argument("--out", type=Path, default=Path("pair_weights.png"), help="picture (default: %(default)s)")
    args = parser.parse_args()
    draw(args.out, {name: curves(LOSSES[name]) for name in args.losses})
    print(args.out)


def curves(loss, points=81):
    """Similarities and the weights `(positive, negative)` of the pair that moves, of largest value 1."""
    grid = np.linspace(-0.999, 0.999, points)
    pull = [-weights(loss, (s, *POSITIVES[1:]), NEGATIVES)[1] for s in grid]
    push = [weights(loss, POSITIVES, (s, *NEGATIVES[1:]))[3] for s in grid]
    largest = max(*pull, *push)
    return grid, np.array(pull) / largest, np.array(push) / largest


def weights(loss, positives, negatives):
    """Pair weights of an anchor with these similarities to the others, `(6,)`."""
    similarities = np.array([*positives, *negatives])
    others = np.eye(6)[1:] * np.sqrt(1 - similarities**2)[:, None]
    others[:, 0] = similarities
    rows = np.concatenate([np.eye(6)[:1], others]).astype("float32")
    return ops.convert_to_numpy(loss.pair_weights(LABELS, rows))[0]


def draw(path, drawn):
    figure, panels = plt.subplots(1, 2, figsize=(8.4, 3.6), dpi=150, sharey=True)
    for color, (name, (grid, *sides)) in zip(COLORS, drawn.items(), strict=False):
        for axes, values in zip(panels, sides, strict=True):
            axes.plot(grid, values, color=color, linewidth=1.8, label=name.replace("_", "-"))
    for axes, title in zip(panels, ("pull on a positive", "push on a negative"), strict=True):
        axes.set_title(title, size=10, loc="left")
        axes.set(xlabel="similarity to the anchor", xlim=(-1, 1), xticks=(-1, -0.5, 0, 0.5, 1))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2)
    panels[0].set_ylabel("weight, largest = 1")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="center left", bbox_to_anchor=(0.99, 0.5), frameon=False, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)


if __name__ == "__main__":
    main()
