"""Tuplet margin loss."""

import math

from keras import ops

from keras_epos._checks import number
from keras_epos.losses._names import registered
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._terms import tuplets

# Below this squared sine two rows have one direction, or opposite ones: the root has no derivative there.
SMALLEST_SQUARED_SINE = 1e-8


@registered("tuplet_margin")
class TupletMarginLoss(PairLoss):
    """Softmax of each positive, moved nearer by an angle, against the anchor's negatives.

        loss_a = sum_p log(1 + sum_n exp(scale (cos(theta_an) - cos(theta_ap - margin))))
        weight of n for p = scale z_n / (1 + sum_k z_k) with z_n = exp(scale (S_an - cos(theta_ap - margin)))
        weight of p = -sum of its negatives' weights * sin(theta_ap - margin) / sin(theta_ap)

    with `theta = arccos(S)`. The margin is slack and not a demand: a positive is judged as if it were nearer than it
    is, which keeps the loss from overfitting the hardest positives. Nearer than the margin, the formula turns round and
    pushes the positive away to it, as published and in other libraries: so classes do not collapse, and
    `positives="easy"` keeps the nearest positive at that angle. At angles of 0 and 180 degrees the sine is left out of
    the derivative.

    - Needs: two classes in a batch, and two samples of a class. The more negatives the better.
    - Choose it when: `NTXentLoss` overfits the hardest positives.
    - See also: `NTXentLoss`, `IntraPairVarianceLoss`.

    Args:
        margin: Angle in degrees, in [0, 90).
        scale: Positive number, the reciprocal of a temperature.
        positives, negatives, average_over, shared: See `PairLoss`.

    Reference: Yu and Tao 2019, https://doi.org/10.1109/ICCV.2019.00659.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> loss = keras_epos.TupletMarginLoss()
        >>> print(f"{loss(np.array([0, 0, 1, 1]), embeddings):.3f}")
        3.332
    """

    has_triplets = True

    def __init__(self, margin=5.73, scale=64.0, positives="all", negatives="all", average_over="valid", **shared):
        super().__init__(positives=positives, negatives=negatives, average_over=average_over, **shared)
        number("margin", margin, "[0, 90)", "an angle in degrees,")
        number("scale", scale, "(0, inf)")
        self.margin = margin
        self.scale = scale

    def formula(self, positives, negatives, batch):
        cosine, margin = positives.similarity, math.radians(self.margin)
        squared_sine = (1 - cosine) * (1 + cosine)
        too_small = squared_sine < SMALLEST_SQUARED_SINE
        sine = ops.where(too_small, 0, ops.sqrt(ops.where(too_small, 1, squared_sine)))
        # cos(theta - margin) without the arccosine, whose derivative has no limit at 1.
        nearer = cosine * math.cos(margin) + sine * math.sin(margin)
        return tuplets(
            positives._replace(similarity=self.scale * nearer),
            negatives._replace(similarity=self.scale * negatives.similarity),
        )
