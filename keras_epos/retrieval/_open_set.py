"""Open set: queries of which some have no reference of their class, judged by the nearest reference alone."""

import numpy as np

from keras_epos._checks import integer, number
from keras_epos.retrieval._checks import check_gallery_arguments, check_order
from keras_epos.retrieval._classes import relate, sides
from keras_epos.retrieval._cuts import RIGHT, UNKNOWN, cuts_of
from keras_epos.retrieval._product import TIE
from keras_epos.retrieval._searches import search


def open_set(
    embeddings,
    labels,
    gallery_embeddings=None,
    gallery_labels=None,
    *,
    false_alarm_rates=(0.01, 0.1),
    ids=None,
    gallery_ids=None,
    block_size=1024,
):
    """How well queries are found in a gallery that does not hold the classes of all of them.

    A query is *known* if the gallery has a reference of its class. Each query has one answer, the class of its nearest
    reference, and their similarity tells how sure it is. Ties count against you.

        dir@f  = share of known queries that are answered rightly, with a similarity of at least the lowest threshold
                 that no larger share than f of the unknown queries reaches: detection and identification at rank 1
        auroc  = share of pairs of a known and an unknown query of which the known one is nearer to the gallery
        gap    = (1 / known queries) * sum over right answers of (right answers among those as sure) / (answers as sure)

    `gap` is the global average precision of landmark recognition, also called micro-AP.

    Args:
        embeddings: Finite floats `(N, D)`, any scale: rows are L2-normalized here.
        labels: Integers or strings `(N,)` or `(N, 1)`.
        gallery_embeddings, gallery_labels: `(G, D)` and `(G,)`, both or neither. Without them each query is searched
            among all other rows twice: as it is, and as an unknown one, with its class taken out.
        false_alarm_rates: In (0, 1): shares of the unknown queries.
        ids, gallery_ids: As in `evaluate`.
        block_size: Queries compared at once.

    Returns:
        Dictionary of floats `"dir@0.01"`, `"threshold@0.01"` (infinite if unknown queries are as near as any) for each
        rate, `"auroc"` and `"gap"`, and of integers `"known"` and `"unknown"`, the numbers of queries. For a threshold
        to use, with its interval, see `calibrate`.

    Raises:
        ValueError: for what `evaluate` turns away, and without a known or without an unknown query.

    Reference: Phillips, Grother and Micheals 2011, https://doi.org/10.1007/978-0-85729-932-1_21 (detection and
    identification); Weyand et al. 2020, https://arxiv.org/abs/2004.01804 (GAP).

    Examples:
        >>> rows = np.eye(3)
        >>> found = keras_epos.retrieval.open_set(rows, [0, 1, 2], rows[:2], [0, 1], false_alarm_rates=0.1)
        >>> found["dir@0.1"], found["auroc"], found["gap"]
        (1.0, 1.0, 1.0)
    """
    rates = [float(number("false_alarm_rates", rate, "(0, 1)", "shares")) for rate in np.atleast_1d(false_alarm_rates)]
    integer("block_size", block_size, 1)
    check_order(embeddings, labels, gallery_embeddings)
    check_gallery_arguments(gallery_embeddings, gallery_labels, ids, gallery_ids)
    queries, gallery = sides(embeddings, gallery_embeddings, ids, gallery_ids)
    searches = search(
        relate("equal", queries, gallery, labels, gallery_labels), block_size, gallery_embeddings is not None
    )
    similarity, kind, _ = searches.ends()
    # A gallery of one class has no reference for its queries as unknown ones.
    similarity, kind = similarity[similarity > -np.inf], kind[similarity > -np.inf]
    num_unknown = int((kind == UNKNOWN).sum())
    num_known = len(kind) - num_unknown
    if not num_known or not num_unknown:
        raise ValueError(
            "`labels` must hold queries whose class is in the gallery, and others whose class is not. Received: "
            f"{num_known} of the former, {num_unknown} of the latter."
        )
    cuts, found = cuts_of(similarity, kind), {}
    for rate in rates:
        # A count that was a share may be off by a rounding.
        good = np.flatnonzero(cuts.false_accepts <= rate * num_unknown + 1e-9)
        found[f"dir@{rate:g}"] = float(cuts.identification_rate[good[0]]) if len(good) else 0.0
        found[f"threshold@{rate:g}"] = float(cuts.values[good[0]]) if len(good) else np.inf
    unknown = np.sort(similarity[kind == UNKNOWN])
    nearer = np.searchsorted(unknown, similarity[kind != UNKNOWN] - TIE).sum()
    return found | {
        "auroc": float(nearer / (num_known * num_unknown)),
        "gap": _average_precision(similarity, kind == RIGHT) / num_known,
        "known": num_known,
        "unknown": num_unknown,
    }


def _average_precision(similarity, is_right):
    """Sum of the precisions at each right answer, of all answers by falling similarity, wrong ones first of a tie."""
    order = np.argsort(-similarity)
    group = np.cumsum(-np.diff(similarity[order], prepend=np.inf) > TIE)
    right = is_right[order][np.lexsort((is_right[order], group))]
    return float((right * np.cumsum(right) / np.arange(1, len(right) + 1)).sum())
