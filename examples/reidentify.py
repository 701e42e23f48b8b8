"""Re-identification: find each person of the queries in what other cameras saw.

    python examples/reidentify.py                 made figures, to see it run
    python examples/reidentify.py people.csv --backbone ResNet50 --size 256 --epochs 60

The table has the columns path, identity, camera and split: train, query or gallery.
"""

import argparse

import keras
import made_images
import numpy as np

import keras_epos
from keras_epos import retrieval
from keras_epos.data import balanced_batches, image_batches, image_loader

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("table", nargs="?", help="CSV; without one, made figures are written to made_people/")
parser.add_argument("--backbone", help="name in keras.applications or .keras file; a small network if not given")
parser.add_argument("--size", type=int, default=64, help="side of the images in pixels")
parser.add_argument("--epochs", type=int, default=30)
args = parser.parse_args()

keras.utils.set_random_seed(0)
train, query, gallery = keras_epos.datasets.reidentification_table(args.table or made_images.figures("made_people"))
people = np.unique(train.labels, return_inverse=True)[1]
num_people = people.max() + 1

small = [keras.Input((args.size, args.size, 3)), keras.layers.Rescaling(1 / 255)]
small += [keras.layers.Conv2D(width, 3, strides=2, activation="relu") for width in (32, 64, 128)]
model = keras_epos.BNNeckModel(args.backbone or keras.Sequential(small), embedding_dim=64, pooling="gem")
model.compile(
    keras.optimizers.Adam(1e-3 if args.backbone is None else 3e-4),
    loss={
        "features": keras_epos.TripletLoss("soft", "euclidean", positives="easy", negatives="hard"),
        "embedding": keras_epos.NormalizedSoftmaxLoss(num_people, label_smoothing=0.1),
    },
)
images = image_batches(query.inputs, args.size), image_batches(gallery.inputs, args.size)


def report(name, reranked=False):
    queries, found = (model.predict(batches, verbose=0)["embedding"] for batches in images)
    scores = retrieval.evaluate(
        queries, query.labels, found, gallery.labels, cameras=query.groups, gallery_cameras=gallery.groups,
        k=(1, 5), metrics=("recall", "map", "minp"), reranking=retrieval.rerank(queries, found) if reranked else None,
    )  # fmt: skip
    print(f"{name:<18}" + "".join(f"{scores[key]:>9.1%}" for key in ("recall@1", "recall@5", "map", "minp")))


print(f"{'':<18}" + "".join(f"{name:>9}" for name in ("rank 1", "rank 5", "mAP", "mINP")))
report("before training")
load = image_loader(args.size, augment="crop_flip")
model.fit(balanced_batches(train.inputs, people, 8, 4, load=load), epochs=args.epochs, shuffle=False, verbose=0)
report("after training")
report("and re-ranked", reranked=True)
model.save("reidentify.keras")
