"""Balanced batches, image loading, data-set readers. TensorFlow is imported when it is needed."""

from keras_epos.data import datasets
from keras_epos.data._anchor_neighbor_indices import AnchorNeighborIndices
from keras_epos.data._balanced_stream import balanced_stream
from keras_epos.data._batch_indices import BatchIndices
from keras_epos.data._batches import balanced_batches, batches
from keras_epos.data._images import (
    decode_and_resize,
    image_batches,
    image_loader,
    random_crop,
    random_flip,
    unreadable,
)
from keras_epos.data._label_noise import pairwise_noise, symmetric_noise
from keras_epos.data._write_shards import write_shards

__all__ = [
    "AnchorNeighborIndices",
    "BatchIndices",
    "balanced_batches",
    "balanced_stream",
    "batches",
    "datasets",
    "decode_and_resize",
    "image_batches",
    "image_loader",
    "pairwise_noise",
    "random_crop",
    "random_flip",
    "symmetric_noise",
    "unreadable",
    "write_shards",
]


def __dir__():
    """Show what is for users, not the modules that it comes from."""
    return __all__
