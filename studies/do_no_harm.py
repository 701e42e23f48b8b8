"""Find a way of fine-tuning that does not end below the frozen backbone on classes that the backbone knows.

From a folder of photographs (folders in it are the classes) it makes views of each: turned, cut, recolored, blurred,
partly covered, on another background. Half of the classes train; on the other half a view must find another
photograph of its class. With --data-dir it takes Cars196 as it is: 70 of the 98 training classes train, 28 test.
Of the classes to train --hold-out are kept back: by them `BestInterpolation` chooses how far to go from the start.

The layers up to --cut stay as they are, and what they make of three random crops of each image is kept: so a run takes
a minute of one core, and only the layers above are trained.
"""

import argparse
import io
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from photographs import crop_flip_resize, decoded
from PIL import Image, ImageEnhance, ImageFilter

import keras_epos
from keras_epos.training import start_head, warm_cosine_adamw

CROPS, STORED, TRAIN, TEST = 3, 144, 96, 128
SHARES = (0, 0.25, 0.5, 0.75, 1)
# Learning rates of the backbone and of the head, whether the head starts as principal directions, and positives.
ARMS = {
    "random head, 4e-4, head 1e-3, easy": (4e-4, 1e-3, False, "easy"),
    "random head, 4e-4, head 1e-3, all": (4e-4, 1e-3, False, "all"),
    "random head, 1e-4, head 1e-4, easy": (1e-4, 1e-4, False, "easy"),
    "directions, 4e-4, head 1e-3, easy": (4e-4, 1e-3, True, "easy"),
    "directions, 4e-4, head 1e-4, easy": (4e-4, 1e-4, True, "easy"),
    "directions, 1e-4, head 1e-3, easy": (1e-4, 1e-3, True, "easy"),
    "directions, 1e-4, head 1e-4, easy": (1e-4, 1e-4, True, "easy"),
    "directions, 1e-4, head 1e-4, all": (1e-4, 1e-4, True, "all"),
}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--photographs", type=Path, metavar="DIR", help="folders of photographs, each a class")
    given.add_argument("--data-dir", type=Path, metavar="DIR", help="folder of Stanford Cars")
    parser.add_argument("--skip", nargs="*", default=[], metavar="TEXT", help="no folders whose path holds this")
    parser.add_argument("--views", type=int, default=6, metavar="N", help="made of each photograph")
    parser.add_argument("--backbone", required=True, metavar="FILE", help="a .keras file, RGB in 0..255 to features")
    parser.add_argument("--cut", default="block10_add", metavar="LAYER", help="last layer that is kept as it is")
    parser.add_argument("--arms", nargs="+", default=[""], metavar="TEXT", help="arms whose name holds one of these")
    parser.add_argument("--embedding-dim", type=int, default=512, metavar="N", help="dimensions of the embeddings")
    parser.add_argument("--steps", type=int, default=150, metavar="N", help="batches of 10 x 4")
    parser.add_argument("--hold-out", type=int, default=5, metavar="N", help="classes to train that choose the share")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N")
    return parser.parse_args()


def main():
    args = parse_arguments()
    images, labels, photographs, is_train = made_set(args) if args.photographs else cars(args)
    network = keras.saving.load_model(args.backbone, compile=False)
    cut = network.get_layer(args.cut).output
    lower = keras.Model(network.input, cut)
    chooses = (
        np.isin(labels, np.unique(labels[is_train])[-args.hold_out :]) if args.hold_out else np.zeros_like(is_train)
    )
    trains = is_train & ~chooses
    plain = kept(lower, images, lambda image, _: tf.image.resize(image, (TEST, TEST), antialias=True))
    crop = crop_flip_resize(TRAIN, 0.5)
    crops = np.stack([kept(lower, images[trains], crop, number) for number in range(CROPS)], 1)
    train = crops, plain[trains], labels[trains]
    held_out, test = ((plain[rows], labels[rows], photographs[rows]) for rows in (chooses, ~is_train))
    upper = keras.Model(cut, network.output)
    counts = (len(np.unique(part)) for part in (labels[trains], labels[chooses], test[1]))
    print("{} classes train, {} choose, {} others test".format(*counts), end=", ")
    print(f"{len(test[1])} images; frozen features {recall(upper, *test):.1%}", flush=True)
    columns = ["arm", "seed", *(f"share {share:g}" for share in SHARES), "features after", "chosen share", "chosen"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for seed in args.seeds:
        for name, arm in ARMS.items():
            if any(text in name for text in args.arms):
                found, features, share = run(args, arm, seed, train, held_out, test, cut, network)
                values = [f"{value:.1%}" for value in [*found.values(), features]]
                chosen = ["", ""] if share is None else [f"{share:g}", f"{found[share]:.1%}"]
                print(f"| {' | '.join([name, str(seed), *values, *chosen])} |", flush=True)


def run(args, arm, seed, train, held_out, test, cut, network):
    """Recall@1 of weights at each share from start to end, of the features after training, and the chosen share."""
    rate, head_rate, from_directions, positives = arm
    crops, plain, labels = train
    keras.utils.set_random_seed(seed)
    upper = keras.models.clone_model(keras.Model(cut, network.output))
    upper.set_weights(keras.Model(cut, network.output).get_weights())
    model = keras_epos.EmbeddingModel(upper, args.embedding_dim, freeze_batch_norm=True)
    if from_directions:
        start_head(model, plain)
    loss = keras_epos.NTXentLoss(temperature=0.05, positives=positives)
    model.compile(
        warm_cosine_adamw(head_rate, args.steps), loss=loss, backbone_optimizer=warm_cosine_adamw(rate, args.steps)
    )
    start, trained, choice = model.get_weights(), [], None
    callbacks = [keras.callbacks.LambdaCallback(on_train_end=lambda _: trained.extend(model.get_weights()))]
    if args.hold_out:
        inputs, held_out_labels, ids = held_out
        judge = keras_epos.RecallAtK(inputs, held_out_labels, k=(1,), metrics="recall", ids=ids)
        choice = keras_epos.BestInterpolation(judge, SHARES)
        callbacks.append(choice)
    model.fit(batches(crops, labels, seed), steps_per_epoch=args.steps, verbose=0, callbacks=callbacks)
    found = {}
    for share in SHARES:
        model.set_weights([one + share * (other - one) for one, other in zip(start, trained, strict=True)])
        found[share] = recall(model, *test)
    return found, recall(upper, *test), choice and choice.share  # The last share is the whole way.


def batches(crops, labels, seed):
    draw = np.random.default_rng(seed)
    members = {label: np.flatnonzero(labels == label) for label in np.unique(labels)}
    while True:
        classes = draw.choice(list(members), 10, replace=False)
        rows = np.concatenate([draw.choice(members[label], 4, replace=len(members[label]) < 4) for label in classes])
        yield crops[rows, draw.integers(0, CROPS, len(rows))].astype("float32"), labels[rows]


def kept(lower, images, load, seed=0):
    """What the lower layers make of every image, as float16."""
    seeds = np.stack([np.full(len(images), seed), np.arange(len(images))], 1).astype("int32")
    data = tf.data.Dataset.from_tensor_slices((images, seeds))
    data = data.map(lambda image, seed: load(tf.cast(image, tf.float32), seed)).batch(64)
    return np.concatenate([lower(batch, training=False).numpy().astype("float16") for batch in data])


def recall(model, inputs, labels, photographs):
    """A view may not find the views of its own photograph."""
    embeddings = model.predict(inputs.astype("float32"), batch_size=64, verbose=0)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    similarity = embeddings @ embeddings.T
    similarity[photographs[:, None] == photographs] = -np.inf
    return np.mean(labels[similarity.argmax(axis=1)] == labels)


def cars(args):
    split = keras_epos.datasets.cars196(args.data_dir).train
    images = decoded(split, STORED, "training")
    is_train = np.isin(split.labels, np.random.default_rng(0).permutation(98)[:70])
    return images, split.labels, np.arange(len(images)), is_train


def made_set(args):
    """Views, the class and the photograph of each, and which are of classes to train."""
    folders = {}
    for path in sorted(args.photographs.rglob("*")):
        folder = path.parent.relative_to(args.photographs).as_posix()
        is_wanted = not any(text in folder for text in args.skip)
        if path.suffix.lower() in (".png", ".jpg", ".jpeg") and is_wanted:
            folders.setdefault(folder, []).append(path)
    groups = [paths for _, paths in sorted(folders.items()) if len(paths) >= 6]
    if len(groups) < 20:
        raise SystemExit(f"--photographs must hold 20 folders of 6 photographs or more. Received: {len(groups)}.")
    draw = np.random.default_rng(0)
    is_train = np.isin(np.arange(len(groups)), draw.permutation(len(groups))[: len(groups) // 2])
    photographs = [(label, opened(path)) for label, paths in enumerate(groups) for path in paths]
    found = [
        (view(photograph, photographs[draw.integers(len(photographs))][1], draw), label, number, is_train[label])
        for number, (label, photograph) in enumerate(photographs)
        for _ in range(args.views)
    ]
    return tuple(np.array(part) for part in zip(*found, strict=True))


def opened(path):
    with Image.open(path) as image:
        image = image.convert("RGBA")
    image.thumbnail((256, 256))
    square = Image.new("RGBA", (max(image.size),) * 2)
    square.paste(image, tuple((square.width - side) // 2 for side in image.size))
    return square


def view(photograph, background, draw):
    """Turned, on a blurred background, cut, mirrored, recolored, blurred, partly covered, saved as JPEG."""
    turned = photograph.rotate(draw.uniform(-18, 18), Image.Resampling.BILINEAR)
    ground = Image.new("RGBA", background.size, "gray")
    ground = Image.alpha_composite(ground, background).resize(turned.size).filter(ImageFilter.GaussianBlur(6))
    image = Image.alpha_composite(ground, turned).convert("RGB")
    side = image.width * np.sqrt(draw.uniform(0.6, 1))
    left, top = draw.uniform(0, image.width - side, 2)
    image = image.resize((STORED, STORED), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
    if draw.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = change(image).enhance(draw.uniform(0.7, 1.3))
    pixels = np.array(image.filter(ImageFilter.GaussianBlur(draw.uniform(0, 1))))
    size = int(STORED * draw.uniform(0, 0.35))
    left, top = draw.integers(0, STORED - size, 2)
    pixels[top : top + size, left : left + size] = draw.integers(0, 255, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=int(draw.integers(20, 80)))
    return np.array(Image.open(file))


if __name__ == "__main__":
    main()
