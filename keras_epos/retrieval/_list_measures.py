"""Measures of whole ranked lists, one value a query, from the ranks of its positives."""

import numpy as np

from keras_epos.retrieval._ranks import ranks_of

# In the order of the results.
LIST_METRICS = ("map", "map_trapezoid", "minp", "mrr", "map@k", "precision@k", "ndcg@k")
OF_RANKS = ("recall", "map@k", "precision@k", "ndcg@k")


def list_measures(metrics, ks, product, classes):
    """Values of each measure, float64 `(N,)`, and the number of positives of each query, `(N,)`.

    Queries without a positive have NaN.
    """
    parts, counts = [], []
    for _, ranks in ranks_of(product, classes):
        parts.append({name: value for metric in metrics for name, value in _values(metric, ks, ranks)})
        counts.append(ranks.count)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, np.concatenate(counts)


def _values(metric, ks, ranks):
    """Yields `(name, values)` of a measure for the queries of a block, of `metric@k` one for each rank."""
    count = np.where(ranks.count > 0, ranks.count, np.nan)
    if metric == "recall":
        for k in ks:
            yield f"recall@{k}", (_sums(ranks, ranks.rank <= k) > 0) + 0 * count
    elif metric == "precision@k":
        for k in ks:
            yield f"precision@{k}", _sums(ranks, ranks.rank <= k) / k + 0 * count
    elif metric == "map@k":
        for k in ks:
            yield f"map@{k}", _sums(ranks, ranks.place / ranks.rank * (ranks.rank <= k)) / np.minimum(count, k)
    elif metric == "ndcg@k":
        for k in ks:
            gain = _sums(ranks, ranks.grade / np.log2(1 + ranks.rank) * (ranks.rank <= k))
            yield f"ndcg@{k}", gain / _ideal(ranks, k) + 0 * count
    else:
        yield metric, _value(metric, ranks, count)


def _value(metric, ranks, count):
    precision = ranks.place / ranks.rank
    if metric == "map":
        return _sums(ranks, precision) / count
    if metric == "map_trapezoid":
        # The precision just before the positive; nothing before rank 1 is wrong.
        before = np.where(ranks.rank > 1, (ranks.place - 1) / np.maximum(ranks.rank - 1, 1), 1)
        return _sums(ranks, (precision + before) / 2) / count
    if metric == "mrr":
        return _sums(ranks, (ranks.place == 1) / ranks.rank) + 0 * count
    if metric == "minp":
        return _sums(ranks, precision * (ranks.place == ranks.count[ranks.query])) + 0 * count
    is_first = ranks.rank <= ranks.count[ranks.query]
    return _sums(ranks, is_first * (precision if metric == "map@r" else 1)) / count


def _sums(ranks, values):
    return np.bincount(ranks.query, values, minlength=len(ranks.count))


def _ideal(ranks, k):
    """The gain of the best order: the most relevant first."""
    grade = ranks.grade[np.lexsort((-ranks.grade, ranks.query))]
    ideal = _sums(ranks, grade / np.log2(1 + ranks.place) * (ranks.place <= k))
    return np.where(ideal > 0, ideal, np.nan)
