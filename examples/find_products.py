"""Product search: which product is on this photograph, or is it none that we know?

    python examples/find_products.py                    made figures in the place of products, to see it run
    python examples/find_products.py photos             photos/<product>/<image>.jpg, ten products or more
    python examples/find_products.py photos query.jpg   and what is on this one

Half of the products train. Half of the others are in the catalog, and half are unknown to it.
"""

import argparse

import keras
import made_images
import numpy as np

import keras_epos
from keras_epos.data import balanced_batches, image_batches, image_loader

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", nargs="?", help="one folder of images for each product")
parser.add_argument("query", nargs="?", help="image to search for")
parser.add_argument("--backbone", help="name in keras.applications or .keras file; a small network if not given")
parser.add_argument("--size", type=int, default=64, help="side of the images in pixels")
parser.add_argument("--epochs", type=int, default=30)
args = parser.parse_args()

keras.utils.set_random_seed(0)
folder = args.folder or made_images.figures("made_people").parent / "images"
train, test = keras_epos.datasets.image_folder(folder)
small = [keras.Input((args.size, args.size, 3)), keras.layers.Rescaling(1 / 255)]
small += [keras.layers.Conv2D(width, 3, strides=2, activation="relu") for width in (32, 64, 128)]
model = keras_epos.EmbeddingModel(args.backbone or keras.Sequential(small), 64, freeze_batch_norm=True)
model.compile(keras.optimizers.Adam(1e-3 if args.backbone is None else 1e-4), loss="easy_positive_triplet")
load = image_loader(args.size, augment="crop_flip")
batches = balanced_batches(train.inputs, train.labels, min(8, len(set(train.labels.tolist()))), 4, load=load)
model.fit(batches, epochs=args.epochs, shuffle=False, verbose=0)

embeddings = model.predict(image_batches(test.inputs, args.size), verbose=0)
is_query = np.arange(len(test)) % 5 == 0
is_known = test.labels < np.median(np.unique(test.labels))
threshold = keras_epos.retrieval.calibrate(embeddings, test.labels, false_accept_rate=0.05)
print(threshold)

catalog = keras_epos.Gallery(model, threshold=threshold)
cataloged = np.flatnonzero(is_known & ~is_query)
names = np.array(test.class_names)[test.labels]
paths = np.array([str(path) for path in test.inputs])
catalog.add(image_batches(paths[cataloged], args.size), ids=paths[cataloged], labels=names[cataloged])
catalog.save("catalog")
for kind, rows in {"known": np.flatnonzero(is_known & is_query), "unknown": np.flatnonzero(~is_known)}.items():
    found = catalog.match(image_batches(paths[rows], args.size))
    right = np.mean(found.labels == (names[rows] if kind == "known" else "unknown"))
    print(f"{len(rows)} photographs of {kind} products: {right:.1%} answered right")
if args.query:
    found = catalog.match(image_batches([args.query], args.size))
    print(f"{args.query}: {found.labels[0]} (similarity {found.similarity[0]:.3f})")
