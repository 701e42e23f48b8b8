"""Each protocol on a random small case, most with ties, against loops: how far its numbers are off.

`python benchmarks/protocols.py --check 1000` runs a thousand of each; the tests beside it run some of each.
"""

import itertools

import numpy as np
from brute_force import EDGE, random_set, unit
from list_oracle import KS, per_query
from rerank_oracle import reranked
from test_calibrate import errors, searches, steps
from test_expansion import expanded
from test_open_set import RATES as ALARMS
from test_open_set import expected as expected_open_set
from test_verify import lowest

from keras_epos import calibrate, retrieval
from keras_epos.retrieval import LIST_METRICS, METRICS, TIE, _pair_counts

ALL = METRICS + LIST_METRICS
KINDS = ["generic", "grid", "copies", "collapsed"]
RATES = (0.05, 0.3)


class Nothing(Exception):
    """The case has no answer: no query with a match, or no pair of one kind."""


def case(seed, salt, least=12, most=30, kinds=KINDS):
    """Generator, queries, gallery, their labels and the kind of a case."""
    generator = np.random.default_rng([seed, salt])
    rows, num_queries = int(generator.integers(least, most)), int(generator.integers(1, 7))
    kind = kinds[seed % len(kinds)]
    dim, classes = int(generator.integers(1, 7)), int(generator.integers(1, 7))
    embeddings, labels = random_set(int(generator.integers(2**31)), rows, dim, classes, kind)
    return generator, *np.split(embeddings, [num_queries]), *np.split(labels, [num_queries])


def lists(arguments, similarity, grades, **named):
    """How far all measures of whole lists are off, beyond what a tie limit of a few roundings more or less allows."""
    if not (grades > 0).any():
        raise Nothing
    named |= {"k": KS, "metrics": ALL, "per_query": True, "block_size": 5}
    found = retrieval.evaluate(*arguments, **named)["per_query"]
    near, far = (per_query(None, None, grades, tie, similarity) for tie in (TIE - EDGE, TIE + EDGE))
    off = [0.0]
    for name, value in found.items():
        if not np.array_equal(np.isnan(value), np.isnan(near[name])):
            return np.inf
        off += [np.nanmax(value - near[name]), np.nanmax(far[name] - value)]
    return max(off)


def among_each_other(seed):
    _, _, rows, _, labels = case(seed, 1)
    similarity = unit(rows) @ unit(rows).T
    return lists((rows, labels), similarity, np.where(np.eye(len(rows), dtype=bool), -1, labels[:, None] == labels))


def cameras(seed):
    generator, queries, gallery, labels, of_gallery = case(seed, 2)
    own, theirs = (generator.integers(0, 3, len(part)) for part in (labels, of_gallery))
    same = labels[:, None] == of_gallery
    grades = np.where(same & (own[:, None] == theirs), -1, same)
    similarity = unit(queries) @ unit(gallery).T
    return lists(
        (queries, labels, gallery, of_gallery), similarity, grades, cameras=own, gallery_cameras=theirs
    )  # fmt: skip


def grades_and_junk(seed):
    generator, queries, gallery, labels, of_gallery = case(seed, 3, kinds=KINDS[:3])
    grades = generator.integers(-1, 4, (len(queries), len(gallery)))
    similarity = unit(queries) @ unit(gallery).T
    return lists((queries, labels, gallery, of_gallery), similarity, grades, relevance=grades)


def reranking(seed):
    generator, queries, gallery, labels, of_gallery = case(seed, 4)
    named = {"k1": int(generator.integers(1, 12)), "k2": int(generator.integers(1, 6)), "weight": 0.3}
    after = retrieval.rerank(queries, gallery, **named, block_size=5)
    similarity = reranked(queries, gallery, **named)
    grades = (labels[:, None] == of_gallery).astype(int)
    return lists((queries, labels, gallery, of_gallery), similarity, grades, reranking=after)


def _rates(found, different, same):
    off = []
    for place, rate in enumerate(found.wanted):
        threshold, others, accepted = lowest(different, same, lambda o, s, rate=rate: o > rate * len(different) + 1e-9)
        off += [found.thresholds[place] - threshold, found.false_accept_rate[place] - others / len(different)]
        off += [found.true_accept_rate[place] - accepted / len(same)]
    threshold, _, accepted = lowest(different, same, lambda o, s: o * len(same) > (len(same) - s) * len(different))
    return max(map(abs, [*off, found.eer_threshold - threshold, found.eer - (1 - accepted / len(same))]))


def all_pairs(seed, kinds=KINDS):
    _, _, rows, _, labels = case(seed, 5, kinds=kinds)
    similarity, same = unit(rows) @ unit(rows).T, labels[:, None] == labels
    others = ~np.eye(len(rows), dtype=bool)
    if same.all() or not (same & others).any():
        raise Nothing
    found = retrieval.verify(rows, labels, false_accept_rates=RATES, block_size=5)
    return _rates(found, similarity[~same], similarity[same & others])


def many_pairs(seed):
    """As if there were too many pairs to keep, which takes the other way through the code."""
    usual = {name: getattr(_pair_counts, name) for name in ("KEPT", "BINS", "SAMPLE")}
    vars(_pair_counts).update(KEPT=20, BINS=64, SAMPLE=4)
    try:
        # What is nearer than some ties, and too many, is cut on one side of it all.
        return all_pairs(seed, KINDS[:3])
    finally:
        vars(_pair_counts).update(usual)


def lists_of_pairs(seed):
    # Where all is as near as a tie, which threshold is best depends on the order.
    generator, _, rows, *_ = case(seed, 6, kinds=KINDS[:3])
    first, second = generator.integers(0, len(rows), (2, 40))
    same = generator.permutation(np.arange(40) % 3 == 0)
    second = np.where(same & (np.arange(40) % 2 == 0), first, second)
    similarity = np.sum(unit(rows[first]) * unit(rows[second]), axis=1)
    found = retrieval.verify_pairs(rows[first], rows[second], same, false_accept_rates=RATES, folds=5)
    values = np.unique(similarity.round(12))
    between = [-2, *(values[1:] + values[:-1]) / 2, 2]
    ends = []
    for fold in range(5):
        here = np.arange(40) // 8 == fold
        right = [(np.mean((similarity[~here] > t) == same[~here]), np.mean((similarity[here] > t) == same[here]))
                 for t in between]  # fmt: skip
        best = [on_fold for elsewhere, on_fold in right if elsewhere == max(right)[0]]
        ends.append((min(best), max(best)))
    low, high = np.mean(ends, axis=0)
    return max(_rates(found, similarity[~same], similarity[same]), low - found.accuracy, found.accuracy - high)


def open_set(seed):
    # The loops take similarities that are as near as ties, and are none, for ties.
    _, queries, gallery, labels, of_gallery = case(seed, 7, most=40, kinds=KINDS[:3])
    kept = of_gallery % 2 == 0
    if not kept.any():
        raise Nothing
    data = (queries, labels, gallery[kept], of_gallery[kept]) if seed % 2 else (gallery, of_gallery)
    unknown, known = searches(*data)
    unknown = [match for match in unknown if match[0][0] > -2]
    if not unknown or not known:
        raise Nothing
    found = retrieval.open_set(*data, false_alarm_rates=ALARMS, block_size=5)
    return max(abs(found[name] - value) for name, value in expected_open_set(unknown, known).items())


def threshold(seed):
    _, _, rows, _, labels = case(seed, 8, least=40, most=60)
    if len(set(labels)) < 2:
        raise Nothing
    unknown, known = searches(rows, labels)
    places = steps(unknown, known)
    good = [step for step in places if errors(unknown, known, step - TIE)[0] <= 0.4 + 1e-9]
    if not good or not known:
        raise Nothing
    found = calibrate(rows, labels, false_accept_rate=0.4, block_size=5)
    below = [step for step in places if step < good[0]]
    far, right, wrong = errors(unknown, known, found.value)
    return max(
        abs(found.value - ((below[-1] + good[0]) / 2 if below else -1)),
        abs(found.false_accept_rate - far),
        abs(found.identification_rate - right),
        abs(found.misidentified - wrong),
    )


def nearest(seed):
    _, queries, gallery, *_ = case(seed, 9)
    expected = unit(queries) @ unit(gallery).T
    similarity, indices = retrieval.nearest(queries, gallery, k=5, block_size=5)
    values = np.take_along_axis(expected, indices, axis=1)
    off = np.abs(values + np.sort(-expected, axis=1)[:, :5]).max()
    repeated = any(len(set(row)) < 5 for row in indices.tolist())
    return np.inf if repeated else max(off, np.abs(similarity - values).max())


def expansion(seed):
    # Rows that tie and differ may stand for each other at the end of the list; copies are the same.
    generator, queries, gallery, *_ = case(seed, 10, kinds=["generic", "copies"])
    k, alpha = int(generator.integers(1, 6)), float(generator.choice([0, 1, 3]))
    queried = retrieval.expand_queries(queries, gallery, k, alpha=alpha, block_size=5)
    moved = retrieval.augment_gallery(gallery, k, alpha=alpha, block_size=5)
    off = np.abs(queried - expanded(queries, gallery, k, alpha, False)).max()
    return max(off, np.abs(moved - expanded(gallery, gallery, k, alpha, True)).max())


def by_class(seed):
    _, _, rows, _, labels = case(seed, 11)
    if not (np.bincount(labels) > 1).any():
        raise Nothing
    scores = retrieval.evaluate(rows, labels, metrics="map", per_query=True, block_size=5)
    found, values = retrieval.by_class(scores, labels), scores["per_query"]["map"]
    means = {label: np.mean(values[labels == label]) for label in set(labels.tolist())}
    means = {label: mean for label, mean in means.items() if mean == mean}
    sizes = sorted((int(np.sum(labels == label)), mean) for label, mean in means.items())
    last = sizes[max(1, round(len(sizes) / 3)) - 1][0]
    tail = np.mean([mean for size, mean in sizes if size <= last])
    return max(abs(found.macro["map"] - np.mean(list(means.values()))), abs(found.tail()["map"] - tail))


PROTOCOLS = {
    "whole lists, leave one out": among_each_other,
    "re-identification": cameras,
    "grades and junk": grades_and_junk,
    "k-reciprocal re-ranking": reranking,
    "verification, all pairs": all_pairs,
    "verification, all of many pairs": many_pairs,
    "verification, lists of pairs": lists_of_pairs,
    "open set": open_set,
    "calibrate": threshold,
    "nearest": nearest,
    "query expansion, augmentation": expansion,
    "macro and tail": by_class,
}


def largest(protocol, number, first=0):
    """The largest difference in so many cases that have an answer."""
    off = []
    for seed in itertools.count(first):
        if len(off) == number:
            return max(off)
        try:
            off.append(float(PROTOCOLS[protocol](seed)))
        except Nothing:
            continue
