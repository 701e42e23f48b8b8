"""What a loss adds to a training step, as a share of the step with the cheapest loss there is.

    python benchmarks/step.py --backbone backbone.keras

The floor is the same model trained by the mean of its squared outputs. Without a backbone a small convolutional network
of random weights takes its place, for which a loss weighs more than for any backbone of use.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import side_by_side

import keras_epos


def mean_square(y_true, y_pred):
    return keras.ops.mean(keras.ops.square(y_pred), axis=-1)


def losses():
    return {
        "easy triplet, semi-hard": keras_epos.EasyPositiveTripletLoss(),
        "easy margin, distance-weighted": keras_epos.MarginLoss(positives="easy"),
        "easy multi-similarity": keras_epos.MultiSimilarityLoss(positives="easy"),
        "easy NT-Xent": keras_epos.NTXentLoss(positives="easy"),
        "easy triplet, negatives of a memory of 4,096": keras_epos.CrossBatchMemory(
            keras_epos.EasyPositiveTripletLoss(), 4096, memory_positives=False
        ),
    }


def small(size):
    inputs = keras.Input((size, size, 3))
    outputs = inputs
    for width in (32, 64, 128):
        outputs = keras.layers.Conv2D(width, 3, strides=2, activation="relu")(outputs)
    return keras.Model(inputs, outputs)


def step(make, loss, images, labels):
    model = make()
    model.compile("adam", loss=loss)

    def run():
        # As `fit` does: what the loss reports is summed up, and nothing is read until the end.
        model.fit(images, labels, batch_size=len(images), epochs=1, verbose=0, shuffle=False)

    return run


def main():
    parser = side_by_side.parser(__doc__, rounds=10)
    parser.add_argument("--backbone", help="a .keras file, or the name of a backbone of keras.applications")
    parser.add_argument("--batch", type=int, default=80)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--dim", type=int, default=128)
    args = parser.parse_args()
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (args.batch, args.size, args.size, 3)).astype("float32")
    labels = np.arange(args.batch) // 8

    def embedding_model():
        return keras_epos.EmbeddingModel(args.backbone or small(args.size), args.dim)

    def plain():
        inputs = keras.Input((args.size, args.size, 3))
        return keras.Model(inputs, embedding_model()(inputs))

    floor = step(plain, mean_square, images, labels)
    contestants = {name: step(embedding_model, loss, images, labels) for name, loss in losses().items()}
    contestants = {"the floor once more": floor} | contestants
    found = side_by_side.ratios(contestants, floor, args.rounds)
    title = f"A step of {args.batch} images of {args.size} px, as a multiple of the step without a loss over pairs"
    side_by_side.table(title, ["step"], {name: [value] for name, value in found.items()})


if __name__ == "__main__":
    main()
