"""What the last bit must not decide: copies of a row, and rows of zeros."""

from functools import partial

import numpy as np
from loss_cases import ON_JAX, numpy, tensor

from keras_epos import losses, mining

RANDOM = np.random.default_rng(0)


def test_copies_are_at_rest_whatever_rounding_makes_of_them():
    rows = np.repeat(RANDOM.standard_normal((16, 64)), 2, axis=0)
    labels = np.repeat(np.arange(8), 4)
    for make in (losses.ContrastiveLoss, losses.SNRContrastiveLoss):
        for dtype, tolerance in (("float32", 1e-5), ("float64", 1e-12)):
            made = make(dtype=dtype)
            values = []
            for seed in range(2 if ON_JAX else 8):
                random = np.random.default_rng(seed)
                order, scale = random.permutation(32), random.uniform(0.5, 1.5, (32, 1))
                values.append(float(numpy(made(labels[order], tensor((rows * scale)[order], dtype)))))
            np.testing.assert_allclose(values, values[0], rtol=tolerance)


def test_a_copy_of_the_positive_is_no_farther_whatever_rounding_makes_of_it():
    rows, labels = np.repeat(RANDOM.standard_normal((6, 32)), 3, axis=0), np.tile([0, 1, 2, 3, 1, 0], 3)
    makers = [
        partial(losses.TripletLoss, positives=positives, negatives=mining.SemiHard(fallback))
        for positives, fallback in (("all", "easiest"), ("easy", "hardest"), ("hard", "skip"))
    ]
    for make in (*makers, partial(losses.EasyPositiveHardNegativeLoss, semi_hard=True)):
        expected, values = float(numpy(make(dtype="float64")(labels, rows))), []
        for seed in range(1 if ON_JAX else 3):
            random = np.random.default_rng(seed)
            order, scale = random.permutation(18), random.uniform(0.5, 1.5, (18, 1))
            values.append(float(numpy(make()(labels[order], tensor((rows * scale)[order], "float32")))))
        assert expected > 0
        np.testing.assert_allclose(values, expected, rtol=1e-4)


def test_a_row_of_zeros_has_one_distance():
    labels, rows = np.array([0, 0, 1]), np.array([[1.0, 0, 0], [0.6, 0.8, 0], [0, 0, 0]])
    for negatives in ("all", "semi_hard", "hard"):
        made = losses.TripletLoss(2.0, positives="easy", negatives=negatives, reduction=None, dtype="float64")
        np.testing.assert_allclose(numpy(made(labels, rows)), [0.8, 0.8, 0], rtol=1e-12)
    found = [
        numpy(losses.MarginLoss(0.3, 1.9, positives=p, negatives=n, dtype="float64")(labels, rows))
        for p, n in (("all", "all"), ("easy", "hard"), ("all", "hard"))
    ]
    np.testing.assert_allclose(found, 0.3 - np.sqrt(2) + 1.9, rtol=1e-12)
