"""The measures in float64, written as loops, and embeddings to try them on."""

import operator

import numpy as np

from keras_epos.retrieval import TIE

ALL_KS = (1, 2, 4)
EDGE = 1e-15  # a few roundings of a cosine


def brute_force(*arguments, **named):
    """The lowest and highest value of each measure: they differ only if a similarity meets the tie limit to the bit."""
    low, high = (measures(*arguments, tie=tie, **named) for tie in (TIE + EDGE, TIE - EDGE))
    return {name: (low[name], high[name]) for name in low}


def measures(queries, labels, gallery, gallery_labels, k, is_self, same=operator.eq, tie=TIE):
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
            ahead = sum(similarity[n] >= similarity[p] - tie for n in negatives)
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
    for name, (low, high) in expected.items():
        slack = 0 if name.startswith("recall") else 1e-14
        assert low - slack <= results[name] <= high + slack, name


def random_set(seed, rows, dim, classes, kind):
    """Random embeddings: generic, on a grid (many exact ties), with copies, or nearly collapsed to a point."""
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(rows, dim))
    if kind == "grid":
        embeddings = rng.integers(-1, 2, size=(rows, dim)).astype(float)
    elif kind == "copies":
        embeddings = embeddings[rng.integers(0, max(1, rows // 3), size=rows)]
    elif kind == "collapsed":
        embeddings = 1 + 1e-6 * embeddings
    return embeddings.astype(np.float32), rng.integers(0, classes, size=rows)
