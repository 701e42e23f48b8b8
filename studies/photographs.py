"""Photographs of cars in memory, their augmentation, and the optimizer: as examples/train_cars.py trains."""

import keras
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


def freeze(backbone, share):
    """Keep the first layers of a backbone as they are."""
    layers = _innermost(backbone)
    for layer in layers[: round(share * len(layers))]:
        layer.trainable = False


def _innermost(layer):
    inside = getattr(layer, "layers", None)
    return [leaf for part in inside for leaf in _innermost(part)] if inside else [layer]


def adamw(learning_rate, weight_decay, steps):
    """AdamW with a warm-up, and a cosine down to 2 %."""
    warmup = min(100, steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup, alpha=0.02, warmup_target=learning_rate, warmup_steps=warmup
    )
    return keras.optimizers.AdamW(schedule, weight_decay=weight_decay)
