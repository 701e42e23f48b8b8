"""A small model of images, some images for it and their files."""

import io

import keras
import numpy as np

from keras_epos import EmbeddingModel

SIZE, DIM = 8, 6


def network():
    layers = keras.layers
    keras.utils.set_random_seed(0)
    return EmbeddingModel(
        keras.Sequential([keras.Input((SIZE, SIZE, 3)), layers.Rescaling(1 / 255), layers.Flatten()]), DIM
    )


def picture(pixels):
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


PIXELS = np.random.default_rng(0).integers(0, 256, (20, SIZE, SIZE, 3), np.uint8)
FILES = [picture(pixels) for pixels in PIXELS]
