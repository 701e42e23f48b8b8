"""Densities against plain loops, the published example, and classes that have no density to speak of."""

import tracemalloc

import loops
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_epos import curriculum
from keras_epos.curriculum._distances import order_statistic

# Features of one class, with what the paper's rules make of them.
LINE = np.array([0, 0.11, 0.23, 0.37, 0.52, 1.31, 2.6, 3.3, 5.2, 9.3])[:, None]
ONE_CLASS = np.zeros(10, int)


def clouds(size=60, dim=5, classes=3, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, size)
    return generator.normal(size=(size, dim)) + labels[:, None], labels


def oracle(rule, embeddings, labels):
    if rule == "agreement":
        return np.array(loops.agreement(embeddings, labels, 4))
    functions = {
        "quantile": lambda rows: loops.quantile_density(rows, 0.3),
        "gaussian": loops.gaussian_density,
        "nearest": lambda rows: loops.nearest_density(rows, 4),
    }
    result = np.zeros(len(labels))
    for label in np.unique(labels):
        result[labels == label] = functions[rule](embeddings[labels == label].tolist())
    return result


def test_the_example_on_a_line():
    assert curriculum.cutoff_distance(LINE - LINE.mean()) == pytest.approx(2.78, abs=1e-12)
    density = curriculum.density(LINE, ONE_CLASS)
    np.testing.assert_array_equal(density, [6, 6, 6, 6, 6, 7, 8, 3, 2, 0])
    peaks = curriculum.peak_distance(LINE, ONE_CLASS, density)
    np.testing.assert_allclose(peaks, [1.31, 1.2, 1.08, 0.94, 0.79, 1.29, 6.7, 0.7, 1.9, 4.1], atol=1e-12)
    np.testing.assert_array_equal(curriculum.cluster_bounds(density), [0, 2, 6])
    np.testing.assert_array_equal(curriculum.split(LINE, ONE_CLASS).parts, [0, 0, 0, 0, 0, 0, 0, 1, 1, 2])


@pytest.mark.parametrize("rule", curriculum.RULES)
@pytest.mark.parametrize("block_size", [1, 7, 1000])
def test_densities_are_those_of_plain_loops_whatever_the_block(rule, block_size):
    embeddings, labels = clouds()
    found = curriculum.density(embeddings, labels, rule, quantile=0.3, neighbors=4, block_size=block_size)
    np.testing.assert_allclose(found, oracle(rule, embeddings, labels), rtol=1e-12)


@pytest.mark.parametrize("block_size", [1, 7, 1000])
def test_peak_distances_are_those_of_plain_loops(block_size):
    embeddings, labels = clouds()
    density = curriculum.density(embeddings, labels)
    found = curriculum.peak_distance(embeddings, labels, density, block_size=block_size)
    for label in np.unique(labels):
        of_class = labels == label
        expected = loops.peak_distance(embeddings[of_class].tolist(), density[of_class])
        np.testing.assert_allclose(found[of_class], expected, rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 25), st.integers(0, 99), st.floats(0, 0.999), st.integers(1, 9))
def test_whole_numbers_tie_exactly(size, seed, quantile, block_size):
    """Many equal distances and copies: a distance that equals the cut-off is not below it, whatever the rounding."""
    rows = np.random.default_rng(seed).integers(0, 4, (size, 2))
    found = curriculum.density(rows * 0.1 + 3, np.zeros(size, int), quantile=quantile, block_size=block_size)
    np.testing.assert_array_equal(found, loops.quantile_density(rows.tolist(), quantile))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 1e300, allow_subnormal=True), min_size=1, max_size=60),
    st.data(),
    st.integers(1, 8),
)
def test_order_statistic_is_that_of_sorting(values, data, limit):
    rank = data.draw(st.integers(0, len(values) - 1))
    numbers = np.array(values) + 0.0
    found = order_statistic(lambda: np.array_split(numbers, 3), rank, len(numbers), limit)
    assert found == np.sort(numbers)[rank]


def test_order_statistic_of_many_equal_numbers():
    numbers = np.repeat([1.0, 1.0 + 2**-52, 3.0], 100)
    found = [order_statistic(lambda: [numbers], rank, 300, limit=5) for rank in (0, 99, 100, 199, 200, 299)]
    assert found == [1.0, 1.0, 1.0 + 2**-52, 1.0 + 2**-52, 3.0, 3.0]


@pytest.mark.parametrize("rule", ["quantile", "gaussian", "nearest"])
def test_memory_does_not_grow_with_the_square_of_a_class(rule):
    """All distances of the class would take 200 MB."""
    embeddings = np.random.default_rng(0).normal(size=(5000, 8))
    tracemalloc.start()
    curriculum.density(embeddings, np.zeros(5000, int), rule, block_size=256)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (100e6 if rule == "quantile" else 10e6)


@pytest.mark.parametrize("rule", curriculum.RULES)
@pytest.mark.parametrize("size", [1, 2, 9])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e5])
def test_equal_samples_are_equally_dense_and_clean(rule, size, value):
    embeddings, labels = np.full((size, 3), value), np.zeros(size, int)
    density = curriculum.density(embeddings, labels, rule, block_size=2)
    assert np.isfinite(density).all()
    assert len(set(density)) == 1
    assert not curriculum.split(embeddings, labels, rule=rule).parts.any()
    assert not curriculum.peak_distance(embeddings, labels, density).any()


@pytest.mark.parametrize("rule", ["quantile", "gaussian", "nearest"])
def test_two_different_samples_are_both_clean(rule):
    assert not curriculum.split([[0.0], [5.0]], [1, 1], rule=rule).parts.any()


def test_the_scale_and_place_of_the_features_do_not_matter():
    embeddings, labels = clouds()
    for rule in ("quantile", "gaussian"):
        parts = curriculum.split(embeddings, labels, rule=rule).parts
        np.testing.assert_array_equal(curriculum.split(7e4 * embeddings + 3e5, labels, rule=rule).parts, parts)


def test_principal_components_of_each_class():
    """As many components as there are dimensions of spread change nothing; one keeps the direction of most spread."""
    generator = np.random.default_rng(0)
    flat = generator.normal(size=(40, 2)) @ generator.normal(size=(2, 9))
    labels = np.arange(40) % 2
    for rule in ("gaussian", "nearest"):
        whole = curriculum.density(flat, labels, rule)
        np.testing.assert_allclose(curriculum.density(flat, labels, rule, principal_dim=2), whole, rtol=1e-9)
        assert not np.allclose(curriculum.density(flat, labels, rule, principal_dim=1), whole, rtol=1e-3)
    line = np.column_stack([100 * LINE[:, 0], generator.normal(size=10) * 1e-6])
    np.testing.assert_array_equal(curriculum.density(line, ONE_CLASS, principal_dim=1), [6, 6, 6, 6, 6, 7, 8, 3, 2, 0])


@pytest.mark.parametrize("seed", range(3))
def test_a_rare_look_is_far_from_its_class_but_not_from_itself(seed):
    """30 of 230 samples of a class look different, and 8 more are wrong and lie in another class."""
    centers = np.repeat([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], [200, 30, 200], axis=0)
    embeddings = centers + np.random.default_rng(seed).normal(0, 0.1, centers.shape)
    labels = np.repeat([0, 0, 1], [200, 30, 200])
    labels[-8:] = 0
    rare, wrong = slice(200, 230), slice(-8, None)
    parts = {rule: curriculum.split(embeddings, labels, rule=rule).parts for rule in curriculum.RULES}
    for rule in curriculum.RULES:
        assert (parts[rule][wrong] > 0).all()
    assert (parts["quantile"][rare] == 2).all()
    assert (parts["gaussian"][rare] > 0).all()
    assert (parts["nearest"][rare] < 2).all()
    assert (parts["agreement"][rare] == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "mean"}, "`rule` must be one of"),
        ({"quantile": 1.0}, "`quantile` must be in"),
        ({"neighbors": 0}, "`neighbors` must be an integer of at least 1"),
        ({"principal_dim": 0}, "`principal_dim` must be an integer of at least 1"),
        ({"block_size": 0}, "`block_size` must be an integer of at least 1"),
        ({"embeddings": np.zeros(10)}, "`embeddings` must be numbers of shape"),
        ({"embeddings": LINE * np.nan}, "`embeddings` must be finite"),
        ({"embeddings": LINE * 1e200}, "`embeddings` must be finite"),
        ({"labels": np.zeros(9, int)}, "`labels` must have one entry"),
        ({"labels": np.full(10, 0.5)}, "`labels` must be integers"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        curriculum.density(**{"embeddings": LINE, "labels": ONE_CLASS, **arguments})
