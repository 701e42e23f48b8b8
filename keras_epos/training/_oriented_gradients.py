"""Histograms of oriented gradients: features of an image that nothing had to be trained for."""

import keras
import numpy as np
from keras import ops

from keras_epos._checks import integer

ORIENTATIONS = 9


@keras.saving.register_keras_serializable(package="keras_epos")
class OrientedGradients(keras.layers.Layer):
    """Describes an image by the directions of its edges, cell by cell; a backbone for a few hundred photographs.

    A network from scratch needs thousands of images, a pretrained one a download. This layer needs neither: it has no
    weights, and the dense layer of `EmbeddingModel` learns on it within a minute which edges matter.

        layers = [keras.Input((96, 96, 3)), keras_epos.OrientedGradients(), keras.layers.Dropout(0.3)]
        model = keras_epos.EmbeddingModel(keras.Sequential(layers))

    The image becomes gray. Each pixel votes for the direction of its edge, out of nine, by the length of its gradient.
    Votes are averaged over cells, their roots are divided by the norm of the cell's nine and by a share of the mean
    norm (so that empty cells stay empty), and the mean of all is subtracted. Contrast and brightness change nothing.
    After Dalal and Triggs, Histograms of Oriented Gradients for Human Detection, 2005.

    Args:
        cell_size: Side of a cell in pixels. Eight suits images of 64 to 128, four those of 28. Rows and columns that
            fill no cell are left out.
        shared: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Images `(B, H, W, C)` of a fixed size, floats or integers on any scale.

    Returns:
        Features `(B, (H // cell_size) * (W // cell_size) * 9)` in the compute dtype; computed in float32.

    Raises:
        ValueError: If `cell_size` is no positive integer; or, when built, if images have no fixed size or are smaller
            than a cell.

    Examples:
        >>> features = keras_epos.OrientedGradients()(np.zeros((2, 96, 96, 3)))
        >>> tuple(features.shape)
        (2, 1296)
    """

    def __init__(self, cell_size=8, **shared):
        cell_size = integer("cell_size", cell_size, 1)
        super().__init__(**shared, autocast=False)  # The squares of 0..255 overflow float16.
        self.cell_size = cell_size

    def build(self, input_shape):
        self.compute_output_shape(input_shape)

    def compute_output_shape(self, input_shape):
        sides = input_shape[1:3]
        if len(input_shape) != 4 or not all(side and side >= self.cell_size for side in sides):
            raise ValueError(
                f"`inputs` must be images (batch, height, width, channels) of a fixed size of at least `cell_size`="
                f"{self.cell_size}. Received: shape {tuple(input_shape)}. Start the model with "
                "keras.Input((height, width, channels))."
            )
        return input_shape[0], ORIENTATIONS * (sides[0] // self.cell_size) * (sides[1] // self.cell_size)

    def call(self, inputs):
        gray = ops.mean(ops.cast(inputs, "float32"), axis=-1)
        gray = gray / (1e-6 + ops.max(ops.abs(gray), axis=(1, 2), keepdims=True))
        padded = ops.pad(gray, ((0, 0), (1, 1), (1, 1)), mode="reflect")
        down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
        right = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
        square = down**2 + right**2 + 1e-12
        # Twice the angle, so that light to dark and dark to light are one direction.
        cosine, sine = (right**2 - down**2) / square, 2 * right * down / square
        angles = (2 * np.pi / ORIENTATIONS * np.arange(ORIENTATIONS)).astype("float32")
        votes = ops.relu(cosine[..., None] * np.cos(angles) + sine[..., None] * np.sin(angles)) ** 8
        votes = ops.average_pool(
            votes * ops.sqrt(square)[..., None], self.cell_size, self.cell_size, "valid", data_format="channels_last"
        )
        roots = ops.sqrt(votes + 1e-12)
        norms = ops.sqrt(ops.sum(votes, axis=-1, keepdims=True) + 1e-12)
        features = roots / (norms + 0.25 * ops.mean(norms, axis=(1, 2), keepdims=True))
        features = ops.reshape(features, (-1, self.compute_output_shape(inputs.shape)[1]))
        return ops.cast(features - ops.mean(features, axis=1, keepdims=True), self.compute_dtype)

    def get_config(self):
        config = super().get_config()
        config.pop("autocast", None)
        return {**config, "cell_size": self.cell_size}
