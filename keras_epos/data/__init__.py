"""Balanced batches, image loading, data-set readers. TensorFlow is imported when it is needed."""

from keras_epos.data import datasets as datasets
from keras_epos.data.anchor_neighbour_batches import anchor_neighbour_batches as anchor_neighbour_batches
from keras_epos.data.anchor_neighbour_indices import AnchorNeighbourIndices as AnchorNeighbourIndices
from keras_epos.data.balanced_batches import balanced_batches as balanced_batches
from keras_epos.data.batch_indices import BatchIndices as BatchIndices
from keras_epos.data.images import decode_and_resize as decode_and_resize
from keras_epos.data.images import image_batches as image_batches
from keras_epos.data.images import load_image as load_image
from keras_epos.data.images import random_crop as random_crop
from keras_epos.data.images import random_flip as random_flip
from keras_epos.data.images import unreadable as unreadable
from keras_epos.data.label_noise import pairwise_noise as pairwise_noise
from keras_epos.data.label_noise import symmetric_noise as symmetric_noise
