"""Intervals, comparisons and means by class, against loops and a law that is known."""

import numpy as np
import pytest

from keras_epos.retrieval import by_class, compare, evaluate
from keras_epos.retrieval._class_draws import NUM_DRAWS
from keras_epos.retrieval._class_means import intervals_of

pytestmark = pytest.mark.filterwarnings("ignore:The intervals come from a bootstrap over")


def drawn_means(values, labels, seed):
    """Means of the draws, one class at a time."""
    classes = np.unique(labels)
    times = np.random.default_rng(seed).multinomial(len(classes), np.full(len(classes), 1 / len(classes)), NUM_DRAWS)
    weights = times[:, np.searchsorted(classes, labels)]
    return weights @ values / weights.sum(axis=1)


def run(seed, noise=0.8, classes=30, size=6):
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), size)
    return generator.normal(size=(classes, 8))[labels] + noise * generator.normal(size=(len(labels), 8)), labels


def test_intervals_are_percentiles_of_drawn_classes():
    rows, labels = run(0)
    labels = np.where(np.arange(len(labels)) == 7, 999, labels)  # one query without a match
    found = evaluate(rows, labels, interval=0.9, seed=4, per_query=True, metrics=("recall", "map", "minp"))
    for name, (low, high) in found["intervals"].items():
        value = found["per_query"][name]
        seen = ~np.isnan(value)
        expected = np.quantile(drawn_means(value[seen], labels[seen], 4), [0.05, 0.95])
        assert (low, high) == pytest.approx(tuple(expected), abs=1e-12)
        assert low <= found[name] <= high
    assert set(found["intervals"]) == set(found["per_query"])


def test_intervals_hold_the_mean_of_new_classes():
    """Values of a class share most of their size: classes must be drawn, not queries."""
    held, held_by_queries = [], []
    for seed in range(80):
        generator = np.random.default_rng(seed)
        labels = np.repeat(np.arange(40), 10)
        values = generator.normal(size=40)[labels] + 0.5 * generator.normal(size=400)
        for kept, drawn in ((held, labels), (held_by_queries, np.arange(400))):
            low, high = intervals_of({"": values}, drawn, 0.95, seed)[""]
            kept.append(low <= 0 <= high)
    assert 0.9 <= np.mean(held) <= 0.99
    assert np.mean(held_by_queries) < 0.7


def test_a_comparison_is_paired():
    rows, labels = run(1)
    noise = np.random.default_rng(9).normal(size=rows.shape)
    first, second = (evaluate(part, labels, per_query=True, metrics=("recall", "map")) for part in (rows + noise, rows))
    found = compare(first, second, labels, interval=0.9, seed=2)
    assert set(found) == {"recall@1", "recall@2", "recall@4", "recall@8", "map"}
    for name, gain in found.items():
        difference = second["per_query"][name] - first["per_query"][name]
        expected = np.quantile(drawn_means(difference, labels, 2), [0.05, 0.95])
        assert gain.interval == pytest.approx(tuple(expected), abs=1e-12)
        assert gain.difference == pytest.approx(second[name] - first[name])
        assert (gain.first, gain.second) == pytest.approx((first[name], second[name]))
    assert found["map"].interval[0] > 0
    same = compare(first, first, labels)["map"]
    assert (same.difference, same.interval) == (0, (0, 0))


def test_queries_that_one_run_has_no_value_for_are_left_out():
    values = np.arange(6.0)
    first, second = (np.where(np.arange(6) == missing, np.nan, values + gain) for missing, gain in ((0, 0), (5, 1)))
    found = compare({"per_query": {"map": first}}, {"per_query": {"map": second}}, np.arange(6) // 2)["map"]
    assert (found.first, found.second, found.difference, found.interval) == (2.5, 3.5, 1, (1, 1))


def test_means_of_classes_and_of_the_tail():
    labels = np.array(["a"] * 4 + ["b"] * 2 + ["c"] * 2 + ["d"])
    values = np.array([1, 1, 0, 0, 1, 0, 1, 1, np.nan])
    found = by_class({"per_query": {"recall@1": values}}, labels)
    assert found.classes.tolist() == ["a", "b", "c"]
    assert found.queries.tolist() == found.sizes.tolist() == [4, 2, 2]
    assert found.values["recall@1"].tolist() == [0.5, 0.5, 1]
    assert found.macro["recall@1"] == pytest.approx(2 / 3)
    assert found.tail()["recall@1"] == 0.75  # b and c are of one size
    assert found.tail(1)["recall@1"] == pytest.approx(2 / 3)
    by_size = by_class({"per_query": {"recall@1": values}}, labels, sizes={"a": 1, "b": 50, "c": 9, "d": 0})
    assert by_size.tail()["recall@1"] == 0.5
    assert by_size.tail(0.6)["recall@1"] == 0.75


def test_what_does_not_fit_is_told():
    rows, labels = run(2)
    scores = evaluate(rows, labels, per_query=True)
    with pytest.raises(ValueError, match="`first` must be what `evaluate"):
        compare(evaluate(rows, labels), scores, labels)
    with pytest.raises(ValueError, match="`second` must have a measure of `first`, for the same 180 queries"):
        compare(scores, evaluate(rows[:90], labels[:90], per_query=True), labels)
    with pytest.raises(ValueError, match="`second` must have a measure of `first`"):
        compare(scores, evaluate(rows, labels, per_query=True, metrics="map"), labels)
    with pytest.raises(ValueError, match="`sizes` must have the size of each class"):
        by_class(scores, labels, sizes={0: 1})
    with pytest.raises(ValueError, match="`share` must be a share in"):
        by_class(scores, labels).tail(0)
    with pytest.warns(UserWarning, match="bootstrap over 10 classes"):
        evaluate(rows[:60], labels[:60], interval=0.95)
