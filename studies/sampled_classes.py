"""Does a share of the classes teach as much as all of them?

    python studies/sampled_classes.py --data-dir data/omniglot

Omniglot's characters, each turned by 0, 90, 180 and 270 degrees into four classes: 1,300 of them, 5,200 classes, to
train, the other 323 as they are to search, none of which was seen. A small network with ArcFace and Adam; the share of
the classes that a step looks at is all there is to compare. About five core-minutes a run.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import keras_epos

TRAINED, DRAWINGS, BATCH = 1300, 10, 256


def load(data_dir):
    """Training images with their classes, and those of characters that are not trained."""
    parts = keras_epos.datasets.omniglot(data_dir, size=28)
    images = 1 - np.concatenate([part.inputs for part in parts]) / np.float32(255)
    labels = np.concatenate([part.labels for part in parts])
    # Of each character the first drawings; alphabets are split at random.
    place = np.random.default_rng(0).permutation(labels.max() + 1)[labels]
    drawing = np.arange(len(labels)) % 20
    kept = (place < TRAINED) & (drawing < DRAWINGS)
    turned = np.concatenate([np.rot90(images[kept], turns, axes=(1, 2)) for turns in range(4)])
    classes = np.concatenate([place[kept] + turns * TRAINED for turns in range(4)])
    return (turned, classes), (images[place >= TRAINED], place[place >= TRAINED])


def trained(images, classes, sampled, seed, epochs):
    keras.utils.set_random_seed(seed)
    layers = [
        keras.layers.Conv2D(16, 5, strides=2, padding="same", activation="relu"),
        keras.layers.Conv2D(32, 5, strides=2, padding="same", activation="relu"),
        keras.layers.Flatten(),
    ]
    model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((28, 28, 1)), *layers]), embedding_dim=64)
    loss = keras_epos.ArcFaceLoss(4 * TRAINED, margin=0.2, scale=24.0, sampled=sampled, seed=seed)
    model.compile(keras.optimizers.Adam(2e-3), loss=loss, loss_optimizer=keras.optimizers.Adam(1e-2))
    model.fit(images, classes, batch_size=BATCH, epochs=epochs, verbose=0)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--sampled", type=float, nargs="+", default=[1.0, 0.3, 0.1])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=12)
    args = parser.parse_args()
    (images, classes), (queries, labels) = load(args.data_dir)
    print(
        f"{len(images):,} images of {len(np.unique(classes)):,} classes; {len(queries):,} of {len(np.unique(labels))}"
    )
    found = {sampled: [] for sampled in args.sampled}
    for seed in range(args.seeds):
        for sampled in args.sampled:
            model = trained(images, classes, sampled, seed, args.epochs)
            scores = keras_epos.retrieval.evaluate(model.predict(queries, batch_size=1024, verbose=0), labels)
            found[sampled].append(scores["recall@1"])
            print(f"seed {seed}, sampled={sampled}: Recall@1 {scores['recall@1']:.1%}", flush=True)
    for sampled, scores in found.items():
        print(f"sampled={sampled}: {np.mean(scores):.1%} ± {np.std(scores):.1%} of {len(scores)} seeds")


if __name__ == "__main__":
    main()
