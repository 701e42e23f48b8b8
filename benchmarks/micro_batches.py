"""Memory that training takes above the images, by the size of the batch: as a whole, and so many images at a time.

    python benchmarks/micro_batches.py
    KERAS_BACKEND=jax python benchmarks/micro_batches.py --batch 64 256 1024 4096 --plot micro_batches.png

Two steps of a small convolutional network on made images of 32 x 32 pixels. Each figure is the largest of its process,
which does nothing else. Linux only.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import side_by_side

PIXELS = 32


def one(case):
    """Measure one case in this process."""
    import keras
    import numpy as np

    import keras_epos

    number = case["batch"]
    images = np.random.default_rng(0).random((number, PIXELS, PIXELS, 3), "float32")
    labels = np.arange(number) // 8
    layers = [
        layer
        for width in (32, 64, 64)
        for layer in (keras.layers.Conv2D(width, 3, padding="same", activation="relu"), keras.layers.MaxPooling2D())
    ]
    network = keras.Sequential([keras.Input((PIXELS, PIXELS, 3)), *layers])

    def fit(number):
        keras.utils.clear_session(free_memory=False)
        model = keras_epos.EmbeddingModel(network, 64)
        model.compile("adam", loss="easy_positive_triplet", micro_batch=case["micro_batch"])
        model.fit(images[:number], labels[:number], batch_size=number, epochs=2, shuffle=False, verbose=0)

    # What the backend needs for any batch.
    fit(32)
    side_by_side.peak_above(lambda: fit(number))


def main():
    parser = side_by_side.parser(__doc__, rounds=1)
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--micro-batch", type=int, default=64)
    parser.add_argument("--plot", help="also draw the memory over the batch size into this file")
    parser.add_argument("--one", type=json.loads, help="measure this case only")
    args = parser.parse_args()
    if args.one:
        one(args.one)
        return
    rows = {
        name: [
            side_by_side.memory_of(sys.argv[0], {"batch": number, "micro_batch": micro_batch}) for number in args.batch
        ]
        for name, micro_batch in {"the whole batch": None, f"{args.micro_batch} at a time": args.micro_batch}.items()
    }
    side_by_side.table("MB above the images, at the peak", args.batch, rows, unit="")
    if args.plot:
        draw(args.plot, args.batch, rows)


def draw(path, sizes, rows):
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5), constrained_layout=True)
    for name, values in rows.items():
        axes.plot(sizes, values, marker="o", markersize=4, label=name)
    axes.set(xscale="log", yscale="log", xlabel="Images in a batch", ylabel="MB above the images")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
