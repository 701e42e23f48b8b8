"""Wrong labels: how many, which, and the same again."""

import numpy as np
import pytest

from keras_epos.data import pairwise_noise, symmetric_noise

LABELS = np.arange(20_000) % 5 * 10


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_symmetric_noise_makes_a_share_wrong_and_all_others_equally_likely(share):
    noisy = symmetric_noise(LABELS, share, seed=1)
    wrong = noisy != LABELS
    assert abs(wrong.mean() - share) < 0.02
    for label in range(0, 50, 10):
        found = noisy[wrong & (label == LABELS)]
        counts = [np.sum(found == other) for other in range(0, 50, 10) if other != label]
        assert np.ptp(counts) <= 0.2 * max(1, *counts)
    np.testing.assert_array_equal(noisy, symmetric_noise(LABELS, share, seed=1))
    assert noisy.dtype == LABELS.dtype
    assert share in (0.0,) or (noisy != symmetric_noise(LABELS, share, seed=2)).any()


def test_pairwise_noise_puts_the_partner_in_place():
    noisy = pairwise_noise(LABELS, 0.4, {0: 20, 20: 0, 30: 10})
    for label, partner in {0: 20, 20: 0, 30: 10}.items():
        found = noisy[label == LABELS]
        assert set(found) == {label, partner}
        assert abs(np.mean(found == partner) - 0.4) < 0.03
    kept = np.isin(LABELS, [10, 40])
    np.testing.assert_array_equal(noisy[kept], LABELS[kept])


def test_names_stay_names():
    names = np.array(["cat", "dog", "cat", "horse"])
    assert set(symmetric_noise(names, 1.0)) <= {"cat", "dog", "horse"}
    assert (symmetric_noise(names, 1.0) != names).all()
    assert pairwise_noise(names, 1.0, {"cat": "dog"}).tolist() == ["dog", "dog", "dog", "horse"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: symmetric_noise(LABELS, 1.1), "`share` must be in"),
        (lambda: symmetric_noise(LABELS[:, None], 0.1), r"`labels` must have shape \(N,\)"),
        (lambda: symmetric_noise([1, 1], 0.1), "`labels` must hold two classes or more"),
        (lambda: pairwise_noise(LABELS, 0.1, {0: 0}), "`partners` must map a label to another one"),
        (
            lambda: symmetric_noise(LABELS, 0.1, seed=True),
            "`seed` must be an integer of at least 0. Received: seed=True",
        ),
        (lambda: pairwise_noise(LABELS, 0.1, {}, seed=1.5), r"`seed` must be an integer.*seed=1\.5"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
