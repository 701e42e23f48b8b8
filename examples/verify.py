"""Verification: do two photographs show the same? Train, choose a threshold for a false-accept rate, ask.

    python examples/verify.py                              made figures, to see it run
    python examples/verify.py photos                       photos/<who or what>/<image>.jpg
    python examples/verify.py photos first.jpg second.jpg  and then whether these two are the same

Half of the classes train. The others choose the threshold and tell what it accepts, as people to come would.
"""

import argparse

import keras
import made_images
import numpy as np

import keras_epos
from keras_epos import retrieval
from keras_epos.data import balanced_batches, image_batches, image_loader

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", nargs="?", help="one folder of images for each class")
parser.add_argument("pair", nargs="*", help="two images to compare")
parser.add_argument("--backbone", help="name in keras.applications or .keras file; a small network if not given")
parser.add_argument("--size", type=int, default=64, help="side of the images in pixels")
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--rate", type=float, default=0.01, help="share of pairs of different classes that may be accepted")
args = parser.parse_args()
if len(args.pair) not in (0, 2):
    parser.error(f"`pair` must be two images. Received: {len(args.pair)}.")

keras.utils.set_random_seed(0)
folder = args.folder or made_images.figures("made_people").parent / "images"
train, held_out = keras_epos.datasets.image_folder(folder)
small = [keras.Input((args.size, args.size, 3)), keras.layers.Rescaling(1 / 255)]
small += [keras.layers.Conv2D(width, 3, strides=2, activation="relu") for width in (32, 64, 128)]
model = keras_epos.EmbeddingModel(args.backbone or keras.Sequential(small), 64, freeze_batch_norm=True)
model.compile(keras.optimizers.Adam(1e-3 if args.backbone is None else 1e-4), loss=keras_epos.NTXentLoss(0.1))
load = image_loader(args.size, augment="crop_flip")
batches = balanced_batches(train.inputs, train.labels, min(8, len(set(train.labels.tolist()))), 4, load=load)


def embed(paths):
    return model.predict(image_batches(paths, args.size), verbose=0)


before = retrieval.verify(embed(held_out.inputs), held_out.labels, false_accept_rates=args.rate)
model.fit(batches, epochs=args.epochs, shuffle=False, verbose=0)
found = retrieval.verify(embed(held_out.inputs), held_out.labels, false_accept_rates=args.rate)
print(f"Before training:\n{before}\n\nAfter training:\n{found}")
found.plot("verify.png")
if args.pair:
    first, second = embed(args.pair)
    similarity = np.dot(first, second)
    answer = "the same" if similarity > found.thresholds[0] else "different"
    print(f"\n{args.pair[0]} and {args.pair[1]}: {answer} (similarity {similarity:.3f})")
