"""k-reciprocal re-ranking against sets and a dense matrix, and its rankings through `evaluate`."""

import keras
import numpy as np
import pytest
from brute_force import random_set
from list_oracle import KS, assert_same
from rerank_oracle import reranked

from keras_epos import _rows
from keras_epos.retrieval import LIST_METRICS, METRICS, evaluate, rerank

pytest.importorskip("scipy")
CASES = 6 if keras.backend.backend() == "jax" else 24
KINDS = ["generic", "grid", "copies", "collapsed"]


def case(seed):
    """Queries, gallery or `None`, their labels, and numbers of neighbors."""
    generator = np.random.default_rng([seed, 3])
    size, num_queries = int(generator.integers(8, 30)), int(generator.integers(1, 7))
    rows, labels = random_set(seed, size, int(generator.integers(1, 6)), 4, KINDS[seed % 4])
    k1, k2 = int(generator.integers(1, 12)), int(generator.integers(1, 6))
    named = {"k1": k1, "k2": k2, "weight": [0.3, 0, 1, 0.7][seed // 4 % 4]}
    if seed % 3 == 0:
        return (rows, None), (labels, None), named
    return np.split(rows, [num_queries]), np.split(labels, [num_queries]), named


def dense(found):
    """All similarities, float64 `(N, G)`."""
    product = found.product(found.queries, found.gallery, 5)
    return product.whole_rows(np.arange(len(found.queries)))


@pytest.mark.parametrize("chunk", [2**22, 90])
def test_similarities_equal_a_dense_matrix(chunk, monkeypatch):
    monkeypatch.setattr(_rows, "CHUNK", chunk)
    for seed in range(CASES):
        (queries, gallery), _, named = case(seed)
        expected = reranked(queries, gallery, **named)
        found = rerank(queries, gallery, **named, block_size=5)
        k = expected.shape[1]
        similarity, indices = found.nearest(k, exclude_self=False, block_size=5)
        np.testing.assert_allclose(similarity, -np.sort(-expected, axis=1), atol=1e-6)
        assert (np.sort(indices, axis=1) == np.arange(k)).all()
        np.testing.assert_allclose(np.take_along_axis(expected, indices, 1), similarity, atol=1e-6)
        np.testing.assert_allclose(dense(found), expected, atol=1e-12)


def test_measures_equal_those_of_the_dense_matrix():
    seen = 0
    for seed in range(CASES):
        (queries, gallery), (labels, of_gallery), named = case(seed)
        similarity = reranked(queries, gallery, **named)
        grades = labels[:, None] == (labels if gallery is None else of_gallery)
        if gallery is None:
            grades = np.where(np.eye(len(labels), dtype=bool), -1, grades)
        if not (grades > 0).any() or grades.shape[1] < max(KS) + 1:
            continue
        seen += 1
        found = evaluate(
            queries, labels, gallery, of_gallery, k=KS, metrics=METRICS + LIST_METRICS, per_query=True, block_size=2,
            reranking=rerank(queries, gallery, **named),
        )  # fmt: skip
        assert_same(found, queries, gallery, grades, similarity)
    assert seen > CASES / 2


def test_a_few_of_a_long_list():
    rows, _ = random_set(0, 120, 5, 9, "generic")
    # Row i of the gallery is query i, and stays where there is a gallery.
    for queries, gallery in ((rows[:6], rows), (rows, None)):
        expected = reranked(queries, gallery, 9, 3, 0.3)
        if gallery is None:
            np.fill_diagonal(expected, -np.inf)
        similarity, indices = rerank(queries, gallery, k1=9, k2=3).nearest(3, block_size=4)
        np.testing.assert_allclose(similarity, -np.sort(-expected, axis=1)[:, :3], atol=1e-6)
        np.testing.assert_allclose(np.take_along_axis(expected, indices, 1), similarity, atol=1e-6)


def test_the_order_of_the_rows_changes_nothing():
    rows, _ = random_set(2, 60, 3, 5, "copies")
    order = np.random.default_rng(0).permutation(60)
    one, other = (dense(rerank(each, k1=6, k2=3)) for each in (rows, rows[order]))
    np.testing.assert_allclose(other, one[order][:, order], atol=1e-12)


def test_three_images_by_hand():
    """Two are each other's nearest, and the nearest of the third is one of them."""
    angles = np.array([0, 0.1, 0.4])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    near = np.exp(np.cos(0.1) - 1)
    # Of the first two the smaller weights are `near` twice, the larger ones 1 twice.
    expected = [[1, near, 0], [near, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(dense(rerank(rows, k1=1, k2=1, weight=0)), expected, atol=1e-12)


def test_the_camera_rule_holds_after_reranking():
    rows, people = random_set(4, 40, 4, 4, "generic")
    cameras = np.arange(40) % 3
    after = rerank(rows, k1=5, k2=2)
    found = evaluate(rows, people, cameras=cameras, k=KS, metrics=LIST_METRICS, per_query=True, reranking=after)
    same = people[:, None] == people
    grades = np.where(same & (cameras[:, None] == cameras), -1, same)
    assert_same(found, rows, rows, grades, reranked(rows, None, 5, 2, 0.3))


def test_what_does_not_fit_is_told():
    rows = np.random.default_rng(0).normal(size=(9, 3))
    after = rerank(rows, k1=2, k2=2)
    for call, message in (
        (lambda: rerank(rows, k1=0), "`k1` must be an integer of at least 1"),
        (lambda: rerank(rows, k2=0), "`k2` must be an integer of at least 1"),
        (lambda: rerank(rows, weight=2), r"`weight` must be a share in \[0, 1\]"),
        (lambda: rerank(rows, rows[:, :2]), "`gallery` must have the 3 columns"),
        (lambda: rerank(rows[:1]), "`queries` must have two rows"),
        (lambda: evaluate(rows, np.arange(9) % 2, k=1, reranking=True), "`reranking` must be what `rerank` returned"),
        (lambda: after.nearest(9), "`k` must be at most the number of references of a query, 8"),
        (lambda: evaluate(rows + 1, np.arange(9) % 2, k=1, reranking=after), "`reranking` must be of the same"),
        (lambda: evaluate(rows, np.arange(9) % 3, rows, np.arange(9) % 3, k=1, reranking=after), "9 references, for 9"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
