"""Does training beat the frozen backbone? On Cars196: its features, a linear probe, the head alone, and fine-tuning.

80 of the 98 car models to train train, by the other 18 `FrozenBaseline` judges every epoch, and at the end the unseen
models 99-196 are measured. The layers up to --cut stay as they are, and what they make of three random crops of each
photograph is kept, as in do_no_harm.py: a run takes a minute or two of one core.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.append(str(Path(__file__).parents[1] / "examples"))

import keras
import numpy as np
import tensorflow as tf
from do_no_harm import CROPS, STORED, TEST, TRAIN, batches, kept
from photographs import crop_flip_resize, decoded
from plots import draw_curves
from runs import features_as_they_are

import keras_epos
from keras_epos.training import start_head, warm_cosine_adamw

# Rate of the backbone, 0 where it is frozen; rate of the head; and how that starts.
ARMS = {
    "head only": (0, 1e-3, "at random"),
    "fine-tuned at 1e-3": (1e-3, 1e-3, "at random"),
    "fine-tuned": (4e-4, 1e-3, "directions"),
    "fine-tuned from the probe": (4e-4, 1e-3, "probe"),
}
PICTURE = Path(__file__).parent / "images" / "frozen_baseline.png"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, metavar="DIR", help="folder of Stanford Cars")
    parser.add_argument("--backbone", required=True, metavar="FILE", help="a .keras file, RGB in 0..255 to features")
    parser.add_argument("--cut", default="block10_add", metavar="LAYER", help="last layer that is kept as it is")
    parser.add_argument("--embedding-dim", type=int, default=512, metavar="N", help="dimensions of the embeddings")
    parser.add_argument("--epochs", type=int, default=8, metavar="N")
    parser.add_argument("--steps", type=int, default=60, metavar="N", help="batches of 10 x 4 an epoch")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N")
    parser.add_argument("--probes", action="store_true", help="compare layers found in closed form instead")
    parser.add_argument("--picture", type=Path, default=PICTURE, metavar="FILE", help="curves of the first seed")
    return parser.parse_args()


def main():
    args = parse_arguments()
    network = keras.saving.load_model(args.backbone, compile=False)
    cut = network.get_layer(args.cut).output
    train, held_out, unseen = data(args, keras.Model(network.input, cut))
    if args.probes:
        return compare_probes(args, keras.Model(cut, network.output), train, held_out, unseen)
    curves, levels, sentences = {}, None, []
    columns = ["what", "seed", "held-out models", "unseen models", "the model is left", "unseen models"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for seed in args.seeds:
        for name, arm in ARMS.items():
            guard, values = run(args, arm, seed, train, held_out, unseen, cut, network)
            baseline = {part: found["recall@1"] for part, found in guard.baseline.items()}
            if levels is None:
                levels = {"frozen features": baseline["backbone"], "linear probe": baseline["probe"]}
                for what, share in levels.items():
                    print(f"| {what} | | {share:.1%} | {values[what]:.1%} | | |", flush=True)
            if seed == args.seeds[0]:
                points = [(0, baseline["start"]), *((one["epoch"] + 1, one["recall@1"]) for one in guard.history)]
                curves[name] = points
            left = guard.restored if isinstance(guard.restored, str) else f"epoch {1 + guard.restored}"
            last = guard.history[-1]["recall@1"]
            print(f"| {name} | {seed} | {last:.1%} | {values['end']:.1%} | {left} | {values['left']:.1%} |", flush=True)
            sentences.append(f"{name}, seed {seed}: {guard.verdict}")
    print("\n" + "\n".join(sentences))
    draw_curves(args.picture, curves, "Recall@1 on held-out car models", levels)


def data(args, lower):
    """Training crops, plain images and labels; and plain images and labels of the held-out and of the unseen models."""
    split = keras_epos.datasets.cars196(args.data_dir)
    images, labels = decoded(split.train, STORED, "training"), split.train.labels
    trains = np.isin(labels, np.random.default_rng(0).permutation(98)[:80])

    def plain(images):
        features = kept(lower, images, lambda image, _: tf.image.resize(image, (TEST, TEST), antialias=True))
        return features.astype("float32")

    crop = crop_flip_resize(TRAIN, 0.5)
    crops = np.stack([kept(lower, images[trains], crop, number) for number in range(CROPS)], 1)
    whole = plain(images)
    unseen = plain(decoded(split.test, STORED, "unseen")), split.test.labels
    return (crops, whole[trains], labels[trains]), (whole[~trains], labels[~trains]), unseen


def run(args, arm, seed, train, held_out, unseen, cut, network):
    """The guard of a run; Recall@1 on unseen models of what needs no training, at the end, and of what is left."""
    rate, head_rate, start = arm
    crops, plain, labels = train
    keras.utils.set_random_seed(seed)
    upper = keras.models.clone_model(keras.Model(cut, network.output))
    upper.set_weights(keras.Model(cut, network.output).get_weights())
    upper.trainable = bool(rate)
    model = keras_epos.EmbeddingModel(upper, args.embedding_dim, freeze_batch_norm=True)
    if start != "at random":
        start_head(model, plain, labels=labels if start == "probe" else None)
    steps = args.epochs * args.steps
    model.compile(
        warm_cosine_adamw(head_rate, steps),
        loss=keras_epos.NTXentLoss(temperature=0.05, positives="easy"),
        backbone_optimizer=warm_cosine_adamw(rate or head_rate, steps),
    )
    features = upper.predict(unseen[0], batch_size=64, verbose=0)
    guard = keras_epos.FrozenBaseline(
        *held_out, train=(plain, labels), k=(1,), metrics="recall", restore_best=True, batch_size=64
    )

    def embedded():
        return model.predict(unseen[0], batch_size=64, verbose=0)

    values = {}
    # Before the guard puts back what was best.
    end = keras.callbacks.LambdaCallback(on_train_end=lambda logs: values.update(end=recall(embedded(), unseen[1])))
    model.fit(
        batches(crops, labels, seed), epochs=args.epochs, steps_per_epoch=args.steps, verbose=0, callbacks=[end, guard]
    )
    values |= {"left": recall(embedded(), unseen[1]), "frozen features": recall(features, unseen[1])}
    return guard, values | {"linear probe": recall(guard.probe(features), unseen[1])}


def compare_probes(args, upper, train, held_out, unseen):
    """Print Recall@1 of layers that are found in closed form on the frozen features."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import Ridge

    _, plain, labels = train
    features, *others = (upper.predict(part, batch_size=64, verbose=0) for part in (plain, held_out[0], unseen[0]))
    model = keras_epos.EmbeddingModel(features_as_they_are(features.shape[1]), args.embedding_dim)
    layers = {"frozen features": lambda rows: rows}
    for name, of_classes in (("principal directions", None), ("FrozenBaseline's probe", labels)):
        start_head(model, features, labels=of_classes)
        kernel, bias = model.embedding.get_weights()
        layers[name] = lambda rows, kernel=kernel, bias=bias: rows @ kernel + bias
    lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(features, labels)
    layers[f"discriminant analysis, {len(np.unique(labels)) - 1} directions"] = lda.transform
    one_hot = keras.utils.to_categorical(labels)[:, np.unique(labels)]
    variance = features.var(axis=0).mean() * len(features)
    for share in (1e-3, 1e-2, 1e-1, 1):
        layers[f"ridge, {share:g} of the variance"] = Ridge(share * variance).fit(features, one_hot).predict
    print("| layer | held-out models | unseen models |\n|---|---|---|")
    for name, layer in layers.items():
        found = [recall(layer(rows), part[1]) for rows, part in zip(others, (held_out, unseen), strict=True)]
        print(f"| {name} | {found[0]:.1%} | {found[1]:.1%} |", flush=True)


def recall(embeddings, labels):
    return keras_epos.retrieval.evaluate(embeddings, labels, k=(1,), metrics="recall")["recall@1"]


if __name__ == "__main__":
    main()
