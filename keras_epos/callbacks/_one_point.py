"""Embeddings that all lie on one point, and why."""

import keras
import numpy as np

from keras_epos.callbacks._outputs import embeddings_of

# Images that are tried in training mode.
NUM_TRIED = 32
BATCH_NORMALIZATION = (
    "in training mode they differ, so it is BatchNormalization: its moving statistics have not caught up. Lower its "
    "`momentum` (0.9), train longer, or take pretrained weights and freeze_batch_norm=True"
)


def is_one_point(embeddings):
    """Whether at least 99 of 100 rows `(N, D)` are within a distance of 0.005 of one direction, or zero."""
    embeddings = np.asarray(embeddings, np.float32)
    norms = np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings, dtype=np.float64))
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    center = scale @ embeddings
    length = np.linalg.norm(center)
    similarity = (embeddings @ (center / length)) * scale if length > 0 else np.zeros(len(embeddings))
    return bool(np.mean((similarity > 1 - 0.005**2 / 2) | (norms == 0)) >= 0.99)


def differs_in_training_mode(model, images, output):
    """Whether a model with BatchNormalization tells `images` apart when it takes their own statistics.

    Nothing of the model changes: statistics and seeds are those of a call without state.
    """
    layers = model._flatten_layers()
    if not any(isinstance(layer, keras.layers.BatchNormalization) for layer in layers):
        return False
    weights = [
        [variable.value for variable in part] for part in (model.trainable_variables, model.non_trainable_variables)
    ]
    outputs, _ = model.stateless_call(
        *weights, keras.tree.map_structure(keras.ops.convert_to_tensor, images), training=True
    )
    outputs = keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)
    return not is_one_point(embeddings_of(model, outputs, output))
