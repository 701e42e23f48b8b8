"""How good an embedding is: the retrieval measures of queries searched in a gallery."""

import numpy as np

from keras_epos._checks import integer
from keras_epos.retrieval.checks import (
    check_gallery_arguments,
    check_matched,
    check_metrics,
    check_order,
    check_ranks,
    check_within,
    warn_of_pairs,
)
from keras_epos.retrieval.classes import relate
from keras_epos.retrieval.precision import precision_at_r
from keras_epos.retrieval.product import Product
from keras_epos.retrieval.recall import best_positives, recall_at
from keras_epos.retrieval.sides import sides

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
    same_class="equal",
    block_size=1024,
):
    """How well the nearest references of each query are of its class.

    Without a gallery every row is a query and all other rows are its references (leave-one-out: a row is left out by
    its position, not because it came first). With a gallery the queries are searched in the gallery. For a query
    with `R` references of its class, ranked by cosine similarity with ties against you:

        recall@k    = 1 if one of the first k is of its class
        r_precision = (of its class among the first R) / R
        map@r       = (1 / R) * sum over ranks j <= R that hold its class of (of its class among the first j) / j

    and the mean over queries. Queries with `R = 0` are left out of the means and counted.

    Args:
        embeddings: Finite floats `(N, D)`, any scale: rows are L2-normalised here. A row of zeros has similarity 0 to
            every other. Tensors of any backend, or arrays; float64 is used in full.
        labels: Integers (any size, compared exactly) or strings, `(N,)` or `(N, 1)`; or what `same_class` takes.
        gallery_embeddings, gallery_labels: `(G, D)` and `(G,)`, both or neither.
        k: Ranks to report Recall@K at: integers from 1 to the number of references of a query.
        metrics: Some of `"recall"`, `"map@r"`, `"r_precision"`. Recall alone is quicker.
        ids: Integers or strings `(N,)`: references with the query's id are the same item and left out. Without a
            gallery the default is the row's position, so pass ids when several rows stem from one photograph.
        gallery_ids: `(G,)`, together with `ids`, when queries may also stand in the gallery.
        same_class: Which references are of the class of a query. `"equal"`: those with its label. `"share_a_label"`:
            those with a one in common, where labels are rows of zeros and ones `(N, L)`; a query without any one is a
            query without match. Or a function of the labels of A queries and R references, NumPy arrays `(A, ...)`
            and `(R, ...)` of any dtype, that returns booleans `(A, R)`; see `keras_epos.same_class`. It is asked
            block by block, several times about each pair.
        block_size: Queries compared at once, with four times as many references.

    Returns:
        Dictionary of floats from 0 to 1 such as `"recall@1"`, `"map@r"`, `"r_precision"`, and the integer
        `"queries_without_match"`.

    Raises:
        ValueError: for shapes that do not fit, NaN or infinite embeddings, labels that are not exact or do not
            fit `same_class`, `k` beyond the gallery, one id with two labels, and when no query has a reference of its
            class.

    Reference: Musgrave et al. 2020, https://arxiv.org/abs/2003.08505 (R-precision, MAP@R).

    Examples:
        >>> scores = keras_epos.retrieval.evaluate(np.eye(4)[[0, 0, 1, 1]], np.array([0, 0, 1, 1]), k=(1,))
        >>> print(scores["recall@1"], scores["map@r"])
        1.0 1.0
    """
    metrics = check_metrics(metrics, METRICS)
    ranks = check_ranks(k) if "recall" in metrics else ()
    integer("block_size", block_size, 1)
    check_order(embeddings, labels, gallery_embeddings)
    check_gallery_arguments(gallery_embeddings, gallery_labels, ids, gallery_ids)
    queries, gallery = sides(embeddings, gallery_embeddings, ids, gallery_ids)
    classes = relate(same_class, queries, gallery, labels, gallery_labels)
    if "recall" in metrics:
        check_within(ranks, len(gallery) - int(gallery_embeddings is None), ALL_FOUND)
    if ids is None:
        warn_of_pairs(queries, gallery, labels, gallery_labels)
    best, num_positives = best_positives(classes)
    matched = np.flatnonzero(num_positives)
    check_matched(matched, queries, gallery)
    product = Product(queries, gallery, block_size)
    results = {}
    if "recall" in metrics:
        results = recall_at(ranks, product, classes, matched, best)
    if "map@r" in metrics or "r_precision" in metrics:
        precision = precision_at_r(product, classes, matched, num_positives)
        results |= {name: value for name, value in precision.items() if name in metrics}
    return results | {"queries_without_match": len(queries) - len(matched)}
