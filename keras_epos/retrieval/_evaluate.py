"""How good an embedding is: the retrieval measures of queries searched in a gallery."""

import math

import numpy as np

from keras_epos import same_class as relations
from keras_epos._checks import integer, number
from keras_epos._rows import describe, to_numpy
from keras_epos.retrieval._cameras import camera_ids
from keras_epos.retrieval._checks import (
    check_gallery_arguments,
    check_matched,
    check_metrics,
    check_order,
    check_ranks,
    check_within,
    warn_of_pairs,
)
from keras_epos.retrieval._class_means import intervals_of
from keras_epos.retrieval._classes import occurrences, relate, sides
from keras_epos.retrieval._list_measures import LIST_METRICS, OF_RANKS, list_measures
from keras_epos.retrieval._neighbors import best_positives, precision_at_r, recall_at
from keras_epos.retrieval._product import Product
from keras_epos.retrieval._rerank import Reranking

METRICS = ("recall", "map@r", "r_precision")
ALL_FOUND = "Every query would count as found."


def evaluate(
    embeddings,
    labels,
    gallery_embeddings=None,
    gallery_labels=None,
    *,
    k=(1, 2, 4, 8),
    metrics=METRICS,
    ids=None,
    gallery_ids=None,
    cameras=None,
    gallery_cameras=None,
    same_class="equal",
    relevance=None,
    reranking=None,
    interval=None,
    per_query=False,
    seed=0,
    block_size=1024,
):
    """How well the nearest references of each query are of its class.

    Without a gallery every row is a query and all other rows are its references (leave-one-out: a row is left out by
    its position, not because it came first). With a gallery the queries are searched in the gallery. For a query
    with `R` references of its class, ranked by cosine similarity with ties against you:

        recall@k    = 1 if one of the first k is of its class
        r_precision = (of its class among the first R) / R
        map@r       = (1 / R) * sum over ranks j <= R that hold its class of (of its class among the first j) / j

    and, of the whole list, where the i-th of its class has rank `r_i`:

        map           = (1 / R) * sum over i of i / r_i
        map_trapezoid = (1 / R) * sum over i of (i / r_i + (i - 1) / (r_i - 1)) / 2, the latter 1 for r_i = 1
        minp          = R / r_R, for the hardest of its class
        mrr           = 1 / r_1
        map@k         = (1 / min(R, k)) * sum over r_i <= k of i / r_i
        precision@k   = (of its class among the first k) / k
        ndcg@k        = sum over r_i <= k of g_i / log2(1 + r_i), as a share of the most possible; g_i is 1 or the grade

    and the mean over queries. Queries with `R = 0` are left out of the means and counted. Recall@K is also known as
    the hit rate, or as rank k of the CMC curve.

    Args:
        embeddings: Finite floats `(N, D)`, any scale: rows are L2-normalized here. A row of zeros has similarity 0 to
            every other. Tensors of any backend, or arrays; float64 is used in full.
        labels: Integers (any size, compared exactly) or strings, `(N,)` or `(N, 1)`; or what `same_class` takes.
        gallery_embeddings, gallery_labels: `(G, D)` and `(G,)`, both or neither.
        k: Ranks to report Recall@K at: integers from 1 to the number of references of a query.
        metrics: Some of `"recall"`, `"map@r"`, `"r_precision"`, which look at the nearest references alone (recall by
            itself is quicker), and of `"map"`, `"map_trapezoid"`, `"minp"`, `"mrr"`, `"map@k"`, `"precision@k"`,
            `"ndcg@k"`. Those with k are reported at each of `k`.
        ids: Integers or strings `(N,)`: references with the query's id are the same item and left out. Without a
            gallery the default is the row's position, so pass ids when several rows stem from one photograph.
        gallery_ids: `(G,)`, together with `ids`, when queries may also stand in the gallery.
        cameras: Integers or strings `(N,)`: references of the query's class from the query's camera are left out, as is
            the rule in re-identification. Instead of `ids`, for the same item has the same camera.
        gallery_cameras: `(G,)`, together with `cameras` where there is a gallery.
        same_class: Which references are of the class of a query. `"equal"`: those with its label. `"share_a_label"`:
            those with a one in common, where labels are rows of zeros and ones `(N, L)`; a query without any one is a
            query without match. Or a function of the labels of A queries and R references, NumPy arrays `(A, ...)`
            and `(R, ...)` of any dtype, that returns booleans `(A, R)`; see `keras_epos.same_class`. It is asked
            block by block, several times about each pair.
        relevance: Numbers `(N, G)` instead of `same_class`: above 0 the grade of a reference that the query is looking
            for, 0 for others, below 0 for those left out ("junk"). Of positives that tie the lowest grade comes first.
            Or a function of labels, as `same_class`, that returns such numbers `(A, R)`.
        reranking: What `rerank` returned for these embeddings, or `None`: ranks by its similarity.
        interval: Confidence in (0, 1) of intervals for the means, or `None` for none. They come from a bootstrap over
            the classes of the queries, for queries of one class resemble each other; the gallery stays.
        per_query: Whether to return the values of the queries also, for `compare` and `by_class`.
        seed: Integer of at least 0, of the bootstrap.
        block_size: Queries compared at once, with eight times as many references.

    Returns:
        Dictionary of floats from 0 to 1 such as `"recall@1"`, `"map@r"`, `"r_precision"`, and the integer
        `"queries_without_match"`. With `interval` also `"intervals"`, a dictionary of `(low, high)` for each measure;
        with `per_query` also `"per_query"`, one of float64 arrays `(N,)`, NaN for queries without a match.

    Raises:
        ValueError: for shapes that do not fit, NaN or infinite embeddings, labels that are not exact or do not
            fit `same_class`, `k` beyond the gallery, one id with two labels, and when no query has a reference of its
            class.

    Reference: Musgrave et al. 2020, https://arxiv.org/abs/2003.08505 (R-precision, MAP@R); Zheng et al. 2015,
    https://doi.org/10.1109/ICCV.2015.133 (CMC and mAP by cameras); Ye et al. 2021, https://arxiv.org/abs/2001.04193
    (mINP); Radenovic et al. 2018, https://arxiv.org/abs/1803.11285 (junk, the mAP by trapezoids); Järvelin and
    Kekäläinen 2002, https://doi.org/10.1145/582415.582418 (NDCG).

    Examples:
        >>> scores = keras_epos.retrieval.evaluate(np.eye(4)[[0, 0, 1, 1]], np.array([0, 0, 1, 1]), k=(1,))
        >>> print(scores["recall@1"], scores["map@r"])
        1.0 1.0
    """
    metrics = check_metrics(metrics, METRICS + LIST_METRICS)
    ranks = check_ranks(k) if set(metrics) & set(OF_RANKS) else ()
    integer("block_size", block_size, 1)
    integer("seed", seed, 0)
    if interval is not None:
        number("interval", interval, "(0, 1)", "a confidence")
    if reranking is not None and not isinstance(reranking, Reranking):
        raise ValueError(
            f"`reranking` must be what `rerank` returned. Received: {describe(reranking)}. Call "
            "`rerank(embeddings, gallery_embeddings)`."
        )
    check_order(embeddings, labels, gallery_embeddings)
    ids, gallery_ids = camera_ids(labels, gallery_labels, cameras, gallery_cameras, ids, gallery_ids)
    check_gallery_arguments(gallery_embeddings, gallery_labels, ids, gallery_ids)
    queries, gallery = sides(embeddings, gallery_embeddings, ids, gallery_ids)
    classes = relate(same_class, queries, gallery, labels, gallery_labels, relevance)
    if "recall" in metrics:
        check_within(ranks, len(gallery) - int(gallery_embeddings is None), ALL_FOUND)
    if ids is None:
        warn_of_pairs(queries, gallery, labels, gallery_labels)
    queries, gallery = classes.queries, classes.gallery
    product = (reranking.product if reranking else Product)(queries, gallery, block_size)
    if relevance is not None or reranking is not None or set(metrics) & set(LIST_METRICS):
        values, num_positives = list_measures(metrics, ranks, product, classes)
        matched = np.flatnonzero(num_positives)
        check_matched(matched, queries, gallery)
        values = {name: value[matched] for name, value in values.items()}
    else:
        best, num_positives = best_positives(classes)
        matched = np.flatnonzero(num_positives)
        check_matched(matched, queries, gallery)
        values = recall_at(ranks, product, classes, matched, best) if "recall" in metrics else {}
        if "map@r" in metrics or "r_precision" in metrics:
            precision = precision_at_r(product, classes, matched, num_positives)
            values |= {name: value for name, value in precision.items() if name in metrics}
    results = {name: math.fsum(value) / len(matched) for name, value in values.items()}
    results["queries_without_match"] = len(queries) - len(matched)
    matched = queries.order[matched]
    if interval is not None:
        results["intervals"] = intervals_of(values, to_numpy(labels)[matched], interval, seed)
    if per_query:
        results["per_query"] = {name: _at(matched, value, len(queries)) for name, value in values.items()}
    return results


def _at(places, values, size):
    """The values at their places among `size`, NaN elsewhere."""
    everywhere = np.full(size, np.nan)
    everywhere[places] = values
    return everywhere


def check_ahead(
    labels, gallery_labels, has_gallery, *, k, metrics, ids, gallery_ids, cameras, gallery_cameras, same_class
):
    """Raise now what `evaluate` would raise for these arguments whatever the embeddings.

    Args:
        labels, gallery_labels: As in `evaluate`; `None` where they are not known yet.
        has_gallery: Whether there will be a gallery.
        k, metrics, ids, gallery_ids, cameras, gallery_cameras, same_class: As in `evaluate`.

    Raises:
        ValueError: as `evaluate` does.
    """
    relation = relations.get(same_class)
    metrics = check_metrics(metrics, METRICS + LIST_METRICS)
    ranks = check_ranks(k) if "recall" in metrics else ()
    is_known = labels is not None and not (has_gallery and gallery_labels is None)
    if is_known:
        ids, gallery_ids = camera_ids(labels, gallery_labels, cameras, gallery_cameras, ids, gallery_ids)
    gallery = np.zeros((1, 1), np.float32) if has_gallery else None
    check_gallery_arguments(gallery, gallery, ids, gallery_ids)
    if not is_known:
        return
    # Rows that stand for the embeddings: only their number counts.
    rows = np.zeros((len(labels), 1), np.float32)
    gallery = np.zeros((len(gallery_labels), 1), np.float32) if has_gallery else None
    queries, references = sides(rows, gallery, ids, gallery_ids)
    relate(same_class, queries, references, labels, gallery_labels)
    if "recall" in metrics:
        check_within(ranks, len(references) - int(not has_gallery), ALL_FOUND)
    if relation is relations.equal:
        check_matched(_matched(queries, references), queries, references)


def _matched(queries, references):
    """The queries with a reference of their label that is not the same item. One id has one label."""
    of_label = occurrences(queries.labels, references.labels)
    return np.flatnonzero(of_label > occurrences(queries.ids, references.ids))
