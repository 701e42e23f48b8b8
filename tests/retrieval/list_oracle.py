"""The measures of whole lists in float64, one query at a time, from a matrix of grades."""

import numpy as np
from brute_force import EDGE, unit

from keras_epos.retrieval import TIE

KS = (1, 3, 5)


def ranks_of(similarity, grades, tie):
    """Ranks and grades of the positives of one query, worst case of all ties; negative grades are not in the list."""
    order = np.lexsort((grades, -similarity))
    positives = [r for r in order if grades[r] > 0]
    if len({grades[r] for r in positives}) > 1:
        groups = [[positives[0]]]
        for r in positives[1:]:
            groups.append([r]) if similarity[groups[-1][-1]] - similarity[r] > tie else groups[-1].append(r)
        similarity = similarity.copy()
        for group in groups:
            similarity[group] = similarity[group].min()
        positives = [r for group in groups for r in sorted(group, key=lambda r: grades[r])]
    negatives = similarity[grades == 0]
    ranks = [place + 1 + int(np.sum(negatives >= similarity[r] - tie)) for place, r in enumerate(positives)]
    return ranks, [float(grades[r]) for r in positives]


def of_query(ranks, grades):
    """Each measure by its definition."""
    count = len(ranks)
    precisions = [(place + 1) / rank for place, rank in enumerate(ranks)]
    befores = [place / (rank - 1) if rank > 1 else 1 for place, rank in enumerate(ranks)]
    found = {
        "map": np.sum(precisions) / count,
        "map_trapezoid": np.sum((np.array(precisions) + befores) / 2) / count,
        "minp": count / ranks[-1],
        "mrr": 1 / ranks[0],
        "r_precision": sum(rank <= count for rank in ranks) / count,
        "map@r": sum(p for p, rank in zip(precisions, ranks, strict=True) if rank <= count) / count,
    }
    for k in KS:
        within = [rank <= k for rank in ranks]
        best = sorted(grades, reverse=True)[:k]
        found[f"recall@{k}"] = float(any(within))
        found[f"precision@{k}"] = sum(within) / k
        found[f"map@{k}"] = sum(p * now for p, now in zip(precisions, within, strict=True)) / min(count, k)
        gain = sum(g / np.log2(1 + rank) for g, rank in zip(grades, ranks, strict=True) if rank <= k)
        found[f"ndcg@{k}"] = gain / sum(g / np.log2(2 + place) for place, g in enumerate(best))
    return found


def per_query(queries, gallery, grades, tie=TIE, similarity=None):
    """Dictionary of arrays `(N,)`, NaN where a query has no positive."""
    similarity = unit(queries) @ unit(gallery).T if similarity is None else similarity
    rows = []
    for of_one, grade in zip(similarity, grades, strict=True):
        ranks, of_positives = ranks_of(of_one, grade, tie)
        rows.append(of_query(ranks, of_positives) if ranks else None)
    names = next(row for row in rows if row is not None)
    return {name: np.array([np.nan if row is None else row[name] for row in rows]) for name in names}


def assert_same(found, queries, gallery, grades, similarity=None):
    """`evaluate(..., per_query=True)` lies between the definitions with a tie limit a few roundings off."""
    found = dict(found)
    values = found.pop("per_query")
    near, far = (per_query(queries, gallery, grades, tie, similarity) for tie in (TIE - EDGE, TIE + EDGE))
    assert found.pop("queries_without_match") == np.isnan(near["map"]).sum()
    assert set(found) == set(values) <= set(near)
    for name, value in values.items():
        np.testing.assert_array_equal(np.isnan(value), np.isnan(near[name]), err_msg=name)
        seen = ~np.isnan(value)
        assert (far[name][seen] - 1e-12 <= value[seen]).all(), name
        assert (value[seen] <= near[name][seen] + 1e-12).all(), name
        assert abs(found[name] - value[seen].mean()) < 1e-12
