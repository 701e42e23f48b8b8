"""Whole lists: camera rule, junk, grades, and every measure of ranks, on random, tied and degenerate embeddings."""

import keras
import numpy as np
import pytest
from brute_force import random_set
from list_oracle import KS, assert_same, per_query

from keras_epos.retrieval import LIST_METRICS, METRICS, TIE, _ranks, evaluate

ALL = METRICS + LIST_METRICS
# JAX compiles each shape anew.
CASES = 20 if keras.backend.backend() == "jax" else 150
KINDS = ["generic", "grid", "copies", "collapsed"]


def case(seed, kinds=KINDS):
    """Queries and gallery of a few classes, with a camera each."""
    generator = np.random.default_rng([seed, 7])
    rows, num_queries = int(generator.integers(12, 30)), int(generator.integers(1, 6))
    dim, classes = int(generator.integers(1, 7)), int(generator.integers(1, 7))
    embeddings, labels = random_set(seed, rows, dim, classes, kinds[seed % len(kinds)])
    cameras = generator.integers(0, 3, rows)
    return *np.split(embeddings, [num_queries]), *np.split(labels, [num_queries]), *np.split(cameras, [num_queries])


def test_the_camera_rule_equals_brute_force():
    seen = 0
    for seed in range(CASES):
        queries, gallery, people, gallery_people, cameras, gallery_cameras = case(seed)
        same = people[:, None] == gallery_people
        grades = np.where(same & (cameras[:, None] == gallery_cameras), -1, same)
        arguments = queries, people, gallery, gallery_people
        named = {"cameras": cameras, "gallery_cameras": gallery_cameras, "k": KS, "per_query": True}
        if not (grades > 0).any():
            with pytest.raises(ValueError, match="at least one query a reference"):
                evaluate(*arguments, **named, metrics=ALL)
            continue
        seen += 1
        assert_same(evaluate(*arguments, **named, metrics=ALL), queries, gallery, grades)
        if seed % 10 == 0:
            quick = evaluate(*arguments, **named, block_size=3)
            expected = evaluate(*arguments, **named, metrics=ALL)
            assert {name: quick[name] for name in quick if name != "per_query"}.items() <= expected.items()
    assert seen > CASES / 2


def test_grades_and_junk_equal_brute_force():
    for seed in range(CASES):
        queries, gallery, *_ = case(seed, KINDS[:3])
        grades = np.random.default_rng(seed).integers(-1, 4, (len(queries), len(gallery)))
        grades[0, 0] = 2
        labels = np.zeros(len(queries)), np.zeros(len(gallery))
        found = evaluate(
            queries, labels[0], gallery, labels[1], k=KS, metrics=ALL, relevance=grades, per_query=True, block_size=3
        )
        assert_same(found, queries, gallery, grades)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("many", [0, 1e9])
def test_large_galleries_stay_exact_either_way(kind, many, monkeypatch):
    monkeypatch.setattr(_ranks, "MANY", many)
    embeddings, labels = random_set(5, 400, 16, 40, kind)
    grades = np.where(np.eye(400, dtype=bool), -1, labels[:, None] == labels)
    found = evaluate(embeddings, labels, k=KS, metrics=ALL, per_query=True, block_size=18)
    assert_same(found, embeddings, embeddings, grades)


def test_a_relation_and_a_relevance_of_it_are_the_same():
    embeddings, labels = random_set(8, 40, 4, 9, "grid")

    def near(labels, references):
        return np.abs(labels[:, None] - references) <= 1

    grades = np.where(np.eye(40, dtype=bool), 0, near(labels, labels))
    named = {"k": KS, "metrics": ALL, "per_query": True}
    for which in ({"same_class": near}, {"relevance": near}, {"relevance": grades}):
        assert_same(
            evaluate(embeddings, labels, **named, **which), embeddings, embeddings, grades - np.eye(40, dtype=int)
        )


def test_values_come_in_the_order_of_the_queries():
    embeddings, labels = random_set(3, 30, 4, 5, "generic")
    labels[4] = 99
    grades = np.where(np.eye(30, dtype=bool), -1, labels[:, None] == labels)
    expected = per_query(embeddings, embeddings, grades)
    for metrics in (METRICS, ALL):
        found = evaluate(embeddings, labels, k=KS, metrics=metrics, per_query=True)["per_query"]
        assert np.isnan(found["map@r"][4])
        for name, value in found.items():
            np.testing.assert_allclose(value, expected[name], atol=1e-12)


def test_one_camera_alone_has_no_match():
    embeddings, people = np.eye(3)[[0, 0, 1, 1]], [0, 0, 1, 1]
    found = evaluate(embeddings, people, cameras=[1, 1, 1, 2], k=1, metrics=("recall", "map"))
    assert (found["queries_without_match"], found["recall@1"], found["map"]) == (2, 1, 1)


def test_what_is_behind_the_last_positive_does_not_count():
    """One wrong before the first right, two before the second: by hand."""
    gallery = np.array([[1, 0], [1, 0.1], [1, 0.2], [1, 0.3], [1, 0.4]])
    found = evaluate(np.array([[1.0, 0]]), ["a"], gallery, ["b", "a", "b", "a", "b"], k=(1, 2), metrics=ALL)
    assert found["map"] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert found["map_trapezoid"] == pytest.approx(((1 / 2 + 0) / 2 + (2 / 4 + 1 / 3) / 2) / 2)
    assert (found["minp"], found["mrr"], found["precision@2"], found["map@2"]) == (0.5, 0.5, 0.5, 0.25)


def test_positives_that_tie_are_as_far_as_the_last_of_them():
    """The wrong one ties with the second right one alone, and comes before both; of these the lower grade is first."""
    cosine = 0.5 - np.array([0, 0.7, 1.4]) * TIE
    gallery = np.stack([cosine, np.sqrt(1 - cosine**2)], axis=1)
    query, grades = np.array([[1.0, 0]]), np.array([[2, 1, 0]])
    found = evaluate(query, [0], gallery, [0, 0, 0], k=3, metrics=("mrr", "ndcg@k"), relevance=grades)
    assert found["mrr"] == 0.5
    assert found["ndcg@3"] == pytest.approx((1 / np.log2(3) + 2 / np.log2(4)) / (2 + 1 / np.log2(3)))


ROWS = np.random.default_rng(0).normal(size=(4, 3))
PEOPLE = [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((ROWS, PEOPLE), {"cameras": PEOPLE, "ids": PEOPLE}, "`ids` must be left out with `cameras`"),
        ((ROWS, PEOPLE, ROWS, PEOPLE), {"cameras": PEOPLE}, "`gallery_cameras` must come with `cameras`"),
        ((ROWS, PEOPLE), {"cameras": PEOPLE, "gallery_cameras": PEOPLE}, "`gallery_cameras` must come with"),
        ((ROWS, PEOPLE), {"cameras": [1, 2]}, "`cameras` must have one entry for each of 4 rows"),
        ((ROWS, PEOPLE), {"relevance": np.ones((4, 3))}, r"`relevance` must be finite numbers \(4, 4\)"),
        ((ROWS, PEOPLE), {"relevance": np.full((4, 4), np.nan)}, "`relevance` must be finite numbers"),
        ((ROWS, PEOPLE), {"relevance": np.zeros((4, 4))}, "at least one query a reference"),
        ((ROWS, PEOPLE), {"metrics": "mAP"}, "Did you mean 'map'"),
        ((ROWS, PEOPLE), {"interval": 95}, "`interval` must be a confidence in"),
    ],
)
def test_errors_name_the_argument(arguments, keywords, message):
    with pytest.raises(ValueError, match=message):
        evaluate(*arguments, k=1, **keywords)
