"""AdaFace loss."""

from functools import partial

import keras
from keras import ops

from keras_epos._checks import number
from keras_epos._pairs import masked_sum
from keras_epos.losses._lengths import cos, lengths, turned
from keras_epos.losses._names import registered
from keras_epos.losses._proxy_loss import ProxyLoss, softmax_terms

# Bounds of a length, and what is added to the standard deviation, as in the authors' code.
SHORTEST, LONGEST, EPSILON = 1e-3, 100.0, 1e-3


@registered("ada_face")
class AdaFaceLoss(ProxyLoss):
    """Classifies by angle and cosine with a margin that suits the quality of a sample, read off its length.

        loss_i = log(1 + sum over other classes c of exp(scale * (S_ic - t_i))),  y the class of i
        t_i = cos(arccos(S_iy) - margin z_i) - margin (1 + z_i)
        z_i = h * (|f_i| - mean) / deviation,  held in [-1, 1],  of the lengths of embeddings seen so far
        weight of c = scale * (softmax over logits)_c,  weight of y = -(sum of the others' weights) * dt_i/dS_iy

    Short embeddings, of blurred or dark images, have `z = -1` and are pulled as in `ArcFaceLoss`, hard samples less
    than easy ones; at `z = 0` the loss is `CosFaceLoss`; long embeddings are pulled harder the harder they are. The
    length is a constant of a step. Beyond an angle of 0 or pi the turned cosine stays at 1 or -1.

    Mean and deviation are moving averages over the training batches, saved with the model. Rows of zeros do not count
    in them. Where all lengths are equal, as behind a normalization, the loss is `CosFaceLoss`.

    - Needs: labels in `[0, num_classes)`, a model that trains the proxies, and embeddings that keep their length:
      `EmbeddingModel(backbone, normalize=False)`.
    - Choose it when: images of people or things are of very different quality.
    - See also: `MagFaceLoss`, `ArcFaceLoss`, `CosFaceLoss`.

    Args:
        num_classes, shared: See `ProxyLoss`.
        margin: Number in (0, 1), an angle in radians and a cosine similarity.
        scale: Positive number, the inverse of a temperature.
        h: Positive number: lengths within `1 / h` deviations of the mean differ in margin.
        momentum: Share of the old in a moving average, in [0, 1); 0 looks at each batch alone.

    Reference: Kim et al. 2022, https://arxiv.org/abs/2204.00964.

    Examples:
        >>> model = keras_epos.EmbeddingModel(backbone, embedding_dim=8, normalize=False)
        >>> model.compile("adam", loss=keras_epos.AdaFaceLoss(num_classes=4))
        >>> history = model.fit(images, labels, verbose=0)
    """

    takes_prefixes = False

    def __init__(self, num_classes, margin=0.4, scale=64.0, h=0.333, momentum=0.99, **shared):
        super().__init__(num_classes, **shared)
        self.margin = number("margin", margin, "(0, 1)")
        self.scale = number("scale", scale, "(0, inf)")
        self.h = number("h", h, "(0, inf)")
        self.momentum = number("momentum", momentum, "[0, 1)")

    def build(self, embedding_dim):
        super().build(embedding_dim)
        # Where the authors' averages start.
        self._of_lengths = [
            self._layer.add_weight(
                shape=(),
                initializer=keras.initializers.Constant(start),
                trainable=False,
                aggregation="mean",
                name=name,
            )
            for name, start in (("mean_length", 20.0), ("length_deviation", 100.0))
        ]

    def formula_of(self, labels, embeddings, training):
        length = ops.stop_gradient(lengths(embeddings))
        counts = ops.logical_and(ops.isfinite(length), length > 0)
        length = ops.clip(ops.where(counts, length, SHORTEST), SHORTEST, LONGEST)
        mean, deviation = self._averages(length, counts, training)
        quality = ops.clip(self.h * (length - mean) / (deviation + EPSILON), -1.0, 1.0)
        return partial(self.formula, quality=quality)

    def _averages(self, length, counts, training):
        """Mean and deviation of lengths, those of this batch included in training."""
        averages = [ops.convert_to_tensor(variable) for variable in self._of_lengths]
        if not training:
            return averages
        counts = ops.cast(counts, length.dtype)
        number = ops.sum(counts)
        mean = ops.sum(length * counts) / ops.maximum(number, 1.0)
        variance = ops.sum(ops.square(length - mean) * counts) / ops.maximum(number - 1, 1.0)
        for place, of_batch in enumerate((mean, ops.sqrt(variance))):
            moved = self.momentum * averages[place] + (1 - self.momentum) * of_batch
            # One length has no deviation, and says little of the mean.
            averages[place] = ops.where(number > 1, moved, averages[place])
            self._of_lengths[place].assign(averages[place])
        return averages

    def formula(self, similarity, own, other, quality):
        target = masked_sum(similarity, own)[:, None]
        angle = -self.margin * quality
        beyond = ops.logical_and(angle < 0, target > cos(angle))
        behind = ops.logical_and(angle > 0, target < -cos(angle))
        target = ops.where(beyond, 1.0, ops.where(behind, -1.0, turned(target, angle)))
        target = target - self.margin * (1 + quality)
        return softmax_terms(self.scale * ops.where(own, target, similarity), own, other)
