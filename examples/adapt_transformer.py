"""Fine-tune a vision transformer by low-rank adapters, and learn whether that beat its frozen features.

    python examples/adapt_transformer.py                 made figures and a small network that knows nothing
    python examples/adapt_transformer.py photos --backbone dinov2_small --size 518 --epochs 10

photos/<class>/<image>.jpg. Half of the classes train, the others measure. Presets need `pip install keras-epos[hub]`.
"""

import argparse
import math

import keras
import made_images
from keras import layers

import keras_epos
from keras_epos.data import balanced_batches, image_batches, image_loader

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", nargs="?", help="one folder of images for each class")
parser.add_argument("--backbone", help="preset of keras_hub or .keras file; a small transformer if not given")
parser.add_argument("--size", type=int, default=64, help="side of the images in pixels")
parser.add_argument("--rank", type=int, default=8, help="of the adapters")
parser.add_argument("--epochs", type=int, default=5)
args = parser.parse_args()


def small_transformer(width=64, heads=4, blocks=3):
    image = keras.Input((args.size, args.size, 3))
    patches = layers.Conv2D(width, 8, strides=8)(layers.Rescaling(1 / 127.5, -1)(image))
    tokens = layers.Reshape((-1, width))(patches)
    for _ in range(blocks):
        normal = layers.LayerNormalization()(tokens)
        tokens = tokens + layers.MultiHeadAttention(heads, width // heads)(normal, normal)
        tokens = tokens + layers.Dense(width, activation="gelu")(layers.LayerNormalization()(tokens))
    return keras.Model(image, tokens)


keras.utils.set_random_seed(0)
folder = args.folder or made_images.figures("made_people").parent / "images"
train, test = keras_epos.datasets.image_folder(folder)
model = keras_epos.EmbeddingModel(args.backbone or small_transformer(), 64, lora=args.rank)
keras_epos.training.start_head(model, image_batches(train.inputs, args.size))
model.compile(keras.optimizers.AdamW(1e-3), loss=keras_epos.NTXentLoss(0.05, positives="easy"))
trained = sum(math.prod(weight.shape) for weight in model.backbone.trainable_weights)
print(f"{trained:,} weights of adapters are trained beside {model.backbone.count_params() - trained:,} frozen ones.")
guard = keras_epos.FrozenBaseline(
    image_batches(test.inputs, args.size), test.labels, k=1,
    train=image_batches(train.inputs, args.size, labels=train.labels),
)  # fmt: skip
load = image_loader(args.size, augment="crop_flip")
classes = min(8, len(set(train.labels.tolist())))
batches = balanced_batches(train.inputs, train.labels, classes, 4, load=load)
model.fit(batches, epochs=args.epochs, callbacks=[guard], shuffle=False, verbose=2)
keras_epos.training.save_adapters(model, "adapters.npz")
model.merged().save("adapted.keras")
