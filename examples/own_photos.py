"""Fine-tune a network on a folder of your own photographs, then find what looks like one of them.

    python examples/own_photos.py photos                       photos/<class>/<image>.jpg, ten images or more of each
    python examples/own_photos.py photos query.jpg             and the nearest photographs to this one
    python examples/own_photos.py photos --backbone file.keras

Half of the classes train. The others, which training never sees, tell whether searching works for classes to come.
"""

import argparse

import keras

import keras_epos
from keras_epos.data import balanced_batches, image_batches, image_loader
from keras_epos.training import start_head

SIZE, EPOCHS = 128, 10

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", help="one folder of images for each class")
parser.add_argument("query", nargs="?", help="image to search for; the first test image if not given")
parser.add_argument("--backbone", default="EfficientNetV2B0", help="name in keras.applications or .keras file")
args = parser.parse_args()

keras.utils.set_random_seed(0)
train, test = keras_epos.datasets.image_folder(args.folder)
classes = min(8, len(set(train.labels.tolist())))
batches = balanced_batches(train.inputs, train.labels, classes, 4, load=image_loader(SIZE, augment="crop_flip"))

model = keras_epos.EmbeddingModel(args.backbone, embedding_dim=128, freeze_batch_norm=True)
start_head(model, image_batches(train.inputs, SIZE))
model.compile(
    keras.optimizers.Adam(1e-4),
    loss=keras_epos.NTXentLoss(0.05, positives="easy"),
    backbone_optimizer=keras.optimizers.Adam(5e-5),
)
gallery = image_batches(test.inputs, SIZE)
before = keras_epos.retrieval.evaluate(model.predict(gallery, verbose=0), test.labels, k=1)["recall@1"]
model.fit(batches, epochs=EPOCHS, shuffle=False, verbose=2)
model.save("own_photos.keras")

embeddings = model.predict(gallery, verbose=0)
after = keras_epos.retrieval.evaluate(embeddings, test.labels, k=1)["recall@1"]
print(f"Recall@1 of {len(set(test.labels.tolist()))} classes never seen: {before:.1%} before, {after:.1%} after")

query = args.query or test.inputs[0]
similarities, rows = keras_epos.retrieval.nearest(
    model.predict(image_batches([query], SIZE), verbose=0), embeddings, k=6
)
print(f"Nearest to {query}:")
for similarity, row in zip(similarities[0], rows[0], strict=True):
    print(f"{similarity:.3f}  {test.class_names[test.labels[row]]}  {test.inputs[row]}")
