"""See a class collapse in two minutes: the same network, trained with all and with easy positives.

Ten kinds of clothes carry only four coarse labels, and a tenth of those are wrong. The table says what is left of the
kinds, which training never saw, and the picture shows it: every dot is a test image (half of them),
colored by its kind.
"""

import argparse
import os
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from train_cars import small_network

import keras_epos

# Kinds of one class share a color family: tops blue to green, long wear red, shoes brown, the bag grey.
COLORS = {
    "T-shirt": "#08519c",
    "Pullover": "#41b6c4",
    "Coat": "#006d2c",
    "Shirt": "#9e9ac8",
    "Trouser": "#cb181d",
    "Dress": "#fc9272",
    "Sandal": "#8c510a",
    "Sneaker": "#fec44f",
    "Boot": "#d95f0e",
    "Bag": "#737373",
}
SHOWN = {
    "recall@1": "class R@1",
    "mode_recall@1": "kind R@1",
    "mode_nmi": "kind NMI",
    "intra_inter_ratio": "intra/inter",
    "cross_mode_distance": "kinds apart",
    "effective_rank": "rank",
}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, metavar="N", help="batches of 4 classes x 32 samples")
    parser.add_argument("--label-noise", type=float, default=0.1, metavar="SHARE", help="wrong labels")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of everything random")
    parser.add_argument("--out", type=Path, default=Path("runs/class_collapse"), metavar="DIR", help="the picture")
    return parser.parse_args()


def main():
    args = parse_arguments()
    warnings.formatwarning = lambda message, *_: f"note: {message}\n"
    train, test = keras_epos.datasets.fashion_sample()
    rows, embeddings = {}, {}
    for name in ("untrained", "all", "easy"):
        print(f"{name if name == 'untrained' else f'training with {name} positives'} ...", flush=True)
        embeddings[name] = embed(name, train, test, args)
        rows[name] = keras_epos.collapse.measure(embeddings[name], test.labels, test.modes)
        rows[name]["mode_nmi"] = keras_epos.collapse.mode_nmi(embeddings[name], test.modes)
    print_table(rows)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "class_collapse.png"
    draw(path, {name: embeddings[name] for name in ("all", "easy")}, test, rows)
    print(f"The picture is {path}")


def embed(name, train, test, args):
    """Embeddings `(N, 64)` of the test images by a network that was trained with the positives `name`."""
    keras.utils.set_random_seed(args.seed)
    model = keras_epos.EmbeddingModel(small_network(), embedding_dim=64)
    images = train.inputs[..., None]
    if name != "untrained":
        labels = keras_epos.data.symmetric_noise(train.labels, args.label_noise, args.seed)
        batches = keras_epos.data.balanced_batches(images, labels, 4, 32, seed=args.seed, steps=args.steps)
        model.compile(keras.optimizers.Adam(1e-3), loss=keras_epos.TripletLoss(positives=name))
        model.fit(batches, shuffle=False, verbose=2)
    return model.predict(test.inputs[..., None], verbose=0)


def print_table(rows):
    print("\n" + " " * 18 + "".join(f"{label:>15}" for label in SHOWN.values()))
    for name, values in rows.items():
        cells = [
            f"{100 * values[key]:>13.1f} %" if "recall" in key else f"{values[key]:>15.2f}" for key in SHOWN
        ]  # fmt: skip
        print(f"{name if name == 'untrained' else f'{name} positives':<18}" + "".join(cells))
    print()


def draw(path, embeddings, test, rows):
    """A projection to two dimensions for each kind of positives, colored by the hidden kinds."""
    from sklearn.manifold import TSNE

    figure, axes = plt.subplots(1, len(embeddings), figsize=(10.5, 5.4), dpi=150, layout="constrained")
    for axis, (name, points) in zip(axes, embeddings.items(), strict=True):
        shown = np.random.default_rng(0).permutation(len(points))[:1000]
        flat = TSNE(init="pca", metric="cosine", random_state=0).fit_transform(points[shown])
        axis.scatter(*flat.T, c=[COLORS[test.mode_names[mode]] for mode in test.modes[shown]], s=10, linewidths=0)
        axis.set_title(f"{name} positives: kind R@1 {rows[name]['mode_recall@1']:.0%}", size=12)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    dots = [plt.Line2D([], [], marker="o", linestyle="", color=color, label=kind) for kind, color in COLORS.items()]
    figure.legend(handles=dots, loc="outside lower center", ncols=10, frameon=False, handletextpad=0.1, columnspacing=1)
    figure.savefig(path)
    plt.close(figure)


if __name__ == "__main__":
    main()
