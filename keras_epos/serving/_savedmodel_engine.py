"""SavedModel, checked in TensorFlow."""

import keras

from keras_epos.serving._engine import CannotDoError
from keras_epos.serving._export import export_savedmodel


def write(task, folder):
    """The folder of version 1, with `embed` and, where asked for, `embed_bytes` and the search of a gallery."""
    if keras.backend.backend() != "tensorflow":
        raise CannotDoError("A SavedModel is written on the TensorFlow backend only.")
    return export_savedmodel(
        task.model,
        folder,
        version=1,
        image_size=task.image_shape[:2],
        embed_bytes=task.embed_bytes,
        output=task.output,
        gallery=task.gallery,
    )


def smaller(task, source, folder, precision):
    raise CannotDoError(
        f"TensorFlow has no {precision} for a SavedModel: it computes in the precision that the model was built with."
    )


def load(path):
    """A function from images to embeddings, and the engine with its version."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def embed(images):
        # `loaded` is held by this function: signatures do not keep the weights alive.
        return loaded.signatures["embed"](image=tf.constant(images))["embedding"].numpy()

    return embed, f"tensorflow {tf.__version__}"
