"""What `fit` and its kin are given as samples."""

import types

import keras
import numpy as np

from keras_epos._keras_private import is_grain_dataset, is_tf_dataset, is_torch_dataloader


def as_keras_takes(samples):
    """Samples whose strings are tensors, which Keras takes: of NumPy's strings, and of a list of strings.

    Only TensorFlow has such tensors; elsewhere samples are returned as they are.
    """
    if keras.backend.backend() != "tensorflow":
        return samples
    import tensorflow as tf

    if isinstance(samples, list) and samples and all(isinstance(one, (str, bytes)) for one in samples):
        return tf.constant(samples)
    return keras.tree.map_structure(
        lambda part: tf.constant(part) if isinstance(part, np.ndarray) and part.dtype.kind in "USO" else part, samples
    )


def refuse_pairs(samples, network):
    """Refuse two or three arrays where the network takes one, as it does when pairs or triplets were made before."""
    inputs = getattr(network, "inputs", None)
    if isinstance(samples, (list, tuple)) and len(samples) in (2, 3) and inputs is not None and len(inputs) == 1:
        raise ValueError(
            f"`x` must be one array of samples. Received: {len(samples)}, as of pairs or triplets. The loss finds "
            "these in each batch by itself: pass each sample once as x, and its class as y."
        )


def can_be_shuffled(data):
    """Whether Keras can shuffle what `fit` is given."""
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches is not None
    is_stream = is_tf_dataset(data) or is_torch_dataloader(data) or is_grain_dataset(data)
    return not is_stream and not isinstance(data, types.GeneratorType)
