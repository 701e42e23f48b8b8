"""What must work on an installed wheel, run from an empty folder: data, training, measuring, export."""

import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

import keras_epos

train, test = keras_epos.datasets.fashion_sample()
batches = keras_epos.data.balanced_batches(
    train.inputs[..., None].astype("float32"), train.labels, classes_per_batch=4, samples_per_class=8, steps=5
)
backbone = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Conv2D(8, 3, strides=4)])
model = keras_epos.EmbeddingModel(backbone, embedding_dim=8)
model.compile("adam", loss=keras_epos.EasyPositiveTripletLoss())
recall = keras_epos.RecallAtK(test.inputs[:200, ..., None].astype("float32"), test.modes[:200], k=(1, 4))
history = model.fit(batches, callbacks=[recall], verbose=0).history
with tempfile.TemporaryDirectory() as folder:
    served = tf.saved_model.load(str(keras_epos.export_savedmodel(model, folder)))
    embedding = served.signatures["embed"](image=tf.zeros((3, 28, 28, 1)))["embedding"]
print(f"keras_epos {keras_epos.__version__}: {sorted(history)}, served {embedding.shape}")
