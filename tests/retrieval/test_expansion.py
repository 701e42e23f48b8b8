"""After-processing against the formulas in NumPy."""

import numpy as np
import pytest
from brute_force import random_set, unit

from keras_epos import _rows
from keras_epos.retrieval import augment_gallery, expand_queries, whiten


def expanded(queries, gallery, k, alpha, exclude_self):
    rows = []
    for place, query in enumerate(unit(queries)):
        similarity = unit(gallery) @ query
        if exclude_self:
            similarity[place] = -np.inf
        first = np.argsort(-similarity)[:k]
        rows.append(query + np.maximum(similarity[first], 0) ** alpha @ unit(gallery)[first])
    return unit(rows)


@pytest.mark.parametrize("alpha", [0, 1, 3.0])
@pytest.mark.parametrize("chunk", [2**22, 40])
def test_expansions_equal_brute_force(alpha, chunk, monkeypatch):
    monkeypatch.setattr(_rows, "CHUNK", chunk)
    for seed in range(5):
        rows, _ = random_set(seed, 60, 3 + seed, 5, "generic")
        queries, gallery = 4 * rows[:10], rows[10:]
        for k in (4, 45):  # of 45 some have a negative similarity
            found = expand_queries(queries, gallery, k, alpha=alpha, block_size=7)
            np.testing.assert_allclose(found, expanded(queries, gallery, k, alpha, False), atol=1e-6)
        found = augment_gallery(gallery, 3, alpha=alpha, block_size=7)
        np.testing.assert_allclose(found, expanded(gallery, gallery, 3, alpha, True), atol=1e-6)


@pytest.mark.parametrize("chunk", [2**22, 40])
def test_whitened_rows_vary_alike_in_all_directions(chunk, monkeypatch):
    monkeypatch.setattr(_rows, "CHUNK", chunk)
    rows = random_set(0, 200, 6, 5, "generic")[0] * [5, 1, 1, 0.1, 1, 1] + 1
    found = whiten(rows, dim=4)
    projected = (unit(rows) - unit(rows).mean(axis=0)) @ found.projection
    np.testing.assert_allclose(projected.T @ projected / 200, np.eye(4), atol=1e-9)
    variance = 1 / (found.projection**2).sum(axis=0)
    largest = np.sort(np.linalg.eigvalsh(np.cov(unit(rows).T, bias=True)))[::-1][:4]
    np.testing.assert_allclose(variance, largest, rtol=1e-6)
    np.testing.assert_allclose(found(rows[:9]), unit(projected[:9]), atol=1e-6)
    assert found(rows).dtype == np.float32


def test_what_does_not_fit_is_told():
    rows = np.random.default_rng(0).normal(size=(5, 8))
    for call, message in (
        (lambda: expand_queries(rows, rows, 6), "`k` must be at most the number of references of a query, 5"),
        (lambda: augment_gallery(rows, 5), "`k` must be at most the number of references of a query, 4"),
        (lambda: expand_queries(rows, rows, 2, alpha=-1), "`alpha` must be at least 0"),
        (lambda: expand_queries(rows, rows[:, :3], 2), "`gallery` must have the 8 columns"),
        (lambda: whiten(rows, dim=5), "`dim` must be at most 4, the directions in which these 5"),
        (lambda: whiten(np.ones((5, 3))), "`dim` must be at most 0"),
        (lambda: whiten(rows, dim=9), "`dim` must be an integer from 1 to 8"),
        (lambda: whiten(rows, dim=3)(rows[:, :3]), "`embeddings` must have 8 columns"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
