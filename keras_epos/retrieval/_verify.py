"""Verification: do two images show the same class? All pairs of a labeled set."""

import numpy as np

from keras_epos._checks import integer, number
from keras_epos._rows import CHUNK, blocks
from keras_epos.retrieval._checks import check_gallery_arguments, check_order
from keras_epos.retrieval._classes import relate, sides
from keras_epos.retrieval._pair_counts import PairCounts
from keras_epos.retrieval._ranks import positives_of
from keras_epos.retrieval._verification import (
    Verification,
    check_rates,
    check_totals,
    curve_of,
    intervals_of,
    rates_of,
)


def verify(
    embeddings,
    labels,
    gallery_embeddings=None,
    gallery_labels=None,
    *,
    false_accept_rates=(0.001, 0.01, 0.1),
    interval=0.95,
    seed=0,
    ids=None,
    gallery_ids=None,
    block_size=1024,
):
    """How well a threshold tells pairs of the same class from pairs of different classes: all pairs of a labeled set.

    Every row is compared with every other, or with every reference of the gallery. The pairs are counted exactly and
    not kept, so memory does not grow with their number.

    Args:
        embeddings: Finite floats `(N, D)`, any scale: rows are L2-normalized here.
        labels: Integers or strings `(N,)` or `(N, 1)`.
        gallery_embeddings, gallery_labels: `(G, D)` and `(G,)`, both or neither.
        false_accept_rates: In (0, 1): shares of the pairs of different classes.
        interval: In (0, 1): confidence of the intervals, from a bootstrap over classes.
        seed: Integer of at least 0, of the bootstrap.
        ids, gallery_ids: As in `evaluate`: rows of one id are no pair.
        block_size: Queries compared at once.

    Returns:
        `Verification`.

    Raises:
        ValueError: for what `evaluate` turns away, and without a pair of the same or of different classes.

    Reference: Grother, Ngan and Hanaoka 2019, https://doi.org/10.6028/NIST.IR.8271 (false match and non-match rates).

    Examples:
        >>> labels = np.repeat(np.arange(30), 5)
        >>> rows = np.random.default_rng(0).normal(size=(30, 16))[labels]
        >>> keras_epos.retrieval.verify(rows, labels, false_accept_rates=0.01).eer
        0.0
    """
    rates = check_rates(false_accept_rates)
    number("interval", interval, "(0, 1)", "a confidence")
    integer("seed", seed, 0)
    integer("block_size", block_size, 1)
    check_order(embeddings, labels, gallery_embeddings)
    check_gallery_arguments(gallery_embeddings, gallery_labels, ids, gallery_ids)
    queries, gallery = sides(embeddings, gallery_embeddings, ids, gallery_ids)
    classes = relate("equal", queries, gallery, labels, gallery_labels)
    pairs = PairCounts(classes, block_size)
    totals = check_totals(pairs.totals)
    found = rates_of(pairs.cuts, *totals, rates)
    counts = _of_classes(pairs.product, classes, found["thresholds"])
    intervals = intervals_of(*counts, found["true_accept_rate"], interval, seed)
    curve = curve_of(pairs.whole, *totals)
    return Verification(**found, intervals=intervals, accuracy=None, accuracy_error=None, curve=curve)


def _of_classes(product, classes, thresholds):
    """Pairs of the same class above each threshold `(K, C)`, and all of them `(C,)`, by the class of the query."""
    labels = classes.queries.labels
    accepted, total = np.zeros((len(thresholds), labels.max() + 1)), np.zeros(labels.max() + 1)
    size = max(1, min(product.block_size, CHUNK // classes.most_positives()))
    for rows in blocks(np.arange(len(labels)), size):
        query, similarity, _ = positives_of(product, classes, rows)
        for counts, threshold in zip(accepted, thresholds, strict=True):
            counts += np.bincount(labels[rows[query]], similarity > threshold, minlength=len(total))
        total += np.bincount(labels[rows[query]], minlength=len(total))
    return accepted, total
