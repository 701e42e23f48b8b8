"""Photographs of cars in memory, and their augmentation: as examples/train_cars.py trains."""

import numpy as np

from keras_epos.data import image_batches, random_crop, random_flip


def decoded(split, size, what):
    """All images as one uint8 array: they are decoded once, not once an epoch."""
    print(f"Decoding the {what} images")
    images = np.empty((len(split), size, size, 3), np.uint8)
    for start, batch in zip(range(0, len(split), 256), image_batches(split.inputs, size, 256), strict=True):
        images[start : start + 256] = np.round(batch.numpy())
    return images


def crop_flip_resize(size, smallest_crop):
    """A `load` for images in memory: a random box, mirrored half of the time."""
    import tensorflow as tf

    crop, flip = random_crop(scale=(smallest_crop, 1.0)), random_flip()

    def load(image, seed):
        return tf.image.resize(flip(crop(image, seed), seed), (size, size), antialias=True)

    return load
