import numpy as np
import pytest

from keras_epos.data._shuffle import fold, seed_key, shuffled


@pytest.mark.parametrize("size", [1, 2, 3, 5, 16, 17, 1000])
def test_is_a_permutation(size):
    keys = fold(seed_key(3), np.arange(50))[:, None]
    result = shuffled(np.arange(size), size, keys)
    assert result.dtype == np.int64
    np.testing.assert_array_equal(np.sort(result, axis=1), np.tile(np.arange(size), (50, 1)))


@pytest.mark.parametrize("size", [2, 3, 6])
def test_every_pair_of_places_is_equally_likely(size):
    trials = 20_000
    result = shuffled(np.arange(size), size, fold(seed_key(0), np.arange(trials))[:, None])
    for first in range(size):
        for second in range(first + 1, size):
            pairs = result[:, first] * size + result[:, second]
            counts = np.bincount(pairs, minlength=size * size).reshape(size, size)
            assert np.diag(counts).sum() == 0
            expected = trials / (size * (size - 1))
            chi_square = ((counts[~np.eye(size, dtype=bool)] - expected) ** 2 / expected).sum()
            degrees = size * (size - 1) - 1
            assert chi_square < degrees + 5 * np.sqrt(2 * degrees)  # five standard deviations


def test_neighbors_part_in_large_permutations():
    size, trials = 100_000, 20_000
    result = shuffled(np.array([500, 501]), size, fold(seed_key(1), np.arange(trials))[:, None])
    distance = np.abs(result[:, 0] - result[:, 1])
    assert (distance < 100).mean() < 0.004  # 0.002 by chance
    assert abs(result.mean() / size - 0.5) < 0.01


def test_keys_differ_by_seed_and_value():
    keys = [fold(seed_key(seed), np.arange(1000)) for seed in (0, 1, -1, 2**62, 2**200 + 5)]
    assert len(np.unique(np.concatenate(keys))) == 5000
