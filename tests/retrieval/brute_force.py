"""The measures in float64, written as loops, and embeddings to try them on."""

import operator

import numpy as np
import pytest

from keras_epos.retrieval import TIE

ALL_KS = (1, 2, 4)


def brute_force(queries, labels, gallery, gallery_labels, k, is_self, same=operator.eq):
    """The definitions, one query at a time: a positive stands behind every negative that it does not beat."""
    queries, gallery = unit(queries), unit(gallery)
    found = {f"recall@{rank}": [] for rank in k} | {"map@r": [], "r_precision": []}
    unmatched = 0
    for q in range(len(queries)):
        others = [r for r in range(len(gallery)) if not is_self(q, r)]
        similarity = {r: float(np.dot(queries[q], gallery[r])) for r in others}
        positives = [r for r in others if same(labels[q], gallery_labels[r])]
        negatives = [r for r in others if not same(labels[q], gallery_labels[r])]
        if not positives:
            unmatched += 1
            continue
        ranks = []
        for place, p in enumerate(sorted(positives, key=lambda r: -similarity[r])):
            ahead = sum(similarity[n] >= similarity[p] - TIE for n in negatives)
            ranks.append(place + 1 + ahead)
        for rank in k:
            found[f"recall@{rank}"].append(ranks[0] <= rank)
        count = len(positives)
        precisions = [(place + 1) / r for place, r in enumerate(ranks) if r <= count]
        found["r_precision"].append(len(precisions) / count)
        found["map@r"].append(sum(precisions) / count)
    return {name: np.mean(v) for name, v in found.items()} | {"queries_without_match": unmatched}


def unit(rows):
    rows = np.asarray(rows, np.float64)
    norm = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return rows / np.where(norm > 0, norm, 1)


def leave_one_out(embeddings, labels, k=ALL_KS, same=operator.eq):
    return brute_force(embeddings, labels, embeddings, labels, k, lambda q, r: q == r, same)


def assert_same(results, expected):
    assert set(results) == set(expected)
    for name, value in expected.items():
        if name.startswith("recall"):
            assert results[name] == value, name
        else:
            assert results[name] == pytest.approx(value, abs=1e-14), name


def random_set(seed, rows, dim, classes, kind):
    """Random embeddings: generic, on a grid (many exact ties), with copies, or nearly collapsed to a point."""
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(rows, dim))
    if kind == "grid":
        embeddings = rng.integers(-1, 2, size=(rows, dim)).astype(float)
    elif kind == "copies":
        embeddings = embeddings[rng.integers(0, max(1, rows // 3), size=rows)]
    elif kind == "collapsed":
        # Similarities differ by about 1e-9: too little for float32, and seldom by TIE to the last bit.
        embeddings = 1 + 3e-5 * embeddings
    return embeddings.astype(np.float32), rng.integers(0, classes, size=rows)
