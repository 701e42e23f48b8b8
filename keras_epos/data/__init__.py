"""Balanced batches, image loading, data-set readers. TensorFlow is imported when it is needed."""

from keras_epos.data import datasets
from keras_epos.data.anchor_neighbour_batches import anchor_neighbour_batches
from keras_epos.data.anchor_neighbour_indices import AnchorNeighbourIndices
from keras_epos.data.balanced_batches import balanced_batches
from keras_epos.data.balanced_stream import balanced_stream
from keras_epos.data.batch_indices import BatchIndices
from keras_epos.data.images import (
    decode_and_resize,
    image_batches,
    load_image,
    random_crop,
    random_flip,
    unreadable,
)
from keras_epos.data.label_noise import pairwise_noise, symmetric_noise

__all__ = [
    "AnchorNeighbourIndices",
    "BatchIndices",
    "anchor_neighbour_batches",
    "balanced_batches",
    "balanced_stream",
    "datasets",
    "decode_and_resize",
    "image_batches",
    "load_image",
    "pairwise_noise",
    "random_crop",
    "random_flip",
    "symmetric_noise",
    "unreadable",
]


def __dir__():
    """Show what is for users, not the modules that it comes from."""
    return __all__
