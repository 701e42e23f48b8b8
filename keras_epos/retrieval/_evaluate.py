"""How good an embedding is: the retrieval measures of queries searched in a gallery."""

import math

import numpy as np

from keras_epos import same_class as relations
from keras_epos._checks import integer
from keras_epos._rows import CHUNK, blocks, chunks
from keras_epos.retrieval._checks import (
    check_gallery_arguments,
    check_matched,
    check_metrics,
    check_order,
    check_ranks,
    check_within,
    warn_of_pairs,
)
from keras_epos.retrieval._classes import relate, sides
from keras_epos.retrieval._nearest import top
from keras_epos.retrieval._product import TIE, Product, above

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
        embeddings: Finite floats `(N, D)`, any scale: rows are L2-normalized here. A row of zeros has similarity 0 to
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
        block_size: Queries compared at once, with eight times as many references.

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
    queries, gallery = classes.queries, classes.gallery
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


def best_positives(classes):
    """Similarity of each query to its nearest positive in float64 `(Q,)`, and its number of positives `(Q,)`."""
    queries, gallery = classes.queries, classes.gallery
    best = np.full(len(queries), -np.inf)
    num_positives = np.zeros(len(queries), np.int64)
    for some, window in classes.windows():
        references, ids = gallery.unit(window), gallery.ids[None, window]
        for rows in chunks(some, len(references)):
            positive = queries.ids[rows, None] != ids
            positive &= classes.block(rows, window)
            similarity = np.where(positive, queries.unit(rows) @ references.T, -np.inf)
            best[rows] = np.maximum(best[rows], similarity.max(axis=1))
            num_positives[rows] += positive.sum(axis=1)
    return best, num_positives


def recall_at(ranks, product, classes, index, best):
    """Recall@K over the queries `index` for each K of `ranks`; `best` are the similarities of their best positives."""
    ahead = _count_negatives_ahead(product, classes, index, best, max(ranks))
    return {f"recall@{rank}": int((ahead < rank).sum()) / len(index) for rank in ranks}


def _count_negatives_ahead(product, classes, index, best, limit):
    """How many negatives are at least as similar as the best positive, for the queries `index`: its rank less 1.

    Counts from `limit` on are cut short: they may be too low, yet not below `limit`.
    """
    ahead = np.zeros(len(best), np.int64)
    for rows in blocks(index, product.block_size):
        threshold = best[rows] - TIE
        low = (threshold - product.error).astype(np.float32)
        for start, similarity in product.by_block(rows):
            width = similarity.shape[1]
            positive = classes.block(rows, slice(start, start + width))
            for query, reference, value in above(similarity, low):
                if positive.any():
                    is_negative = ~np.broadcast_to(positive, similarity.shape)[query, reference]
                    query, reference, value = query[is_negative], reference[is_negative], value[is_negative]
                is_ahead = value > threshold[query] + product.error
                unsure = np.flatnonzero(~is_ahead)
                exact = product.exact(rows, start, width, query[unsure], reference[unsure])
                is_ahead[unsure] = exact >= threshold[query[unsure]]
                ahead[rows] += np.bincount(query[is_ahead], minlength=len(rows))
            low[ahead[rows] >= limit] = np.inf
    return ahead[index]


def precision_at_r(product, classes, index, num_positives):
    """Means of MAP@R and R-precision over the queries `index`."""
    queries, gallery = product.queries, product.gallery
    num_excluded = int(np.bincount(np.unique(gallery.ids, return_inverse=True)[1]).max())

    def key(rows, indices, similarity):
        # A positive that is not farther ahead than a tie comes after the negative, and the query itself last.
        positive = classes.pairs(rows, indices)
        itself = queries.ids[rows, None] == gallery.ids[indices]
        return np.where(itself, -np.inf, similarity - TIE * positive)

    found, average = [], []
    # Queries of similar R together: the largest R of a block decides how many references are fetched.
    size = max(1, min(product.block_size, 4 * CHUNK // int(num_positives.max())))
    for rows in blocks(index[np.argsort(num_positives[index], kind="stable")], size):
        width = num_positives[rows].max()
        indices = top(product, rows, int(width), num_excluded, key)[1]
        hit = classes.pairs(rows, indices)
        ranks = np.arange(1, width + 1)
        hit &= ranks <= num_positives[rows, None]
        found.extend(hit.sum(axis=1) / num_positives[rows])
        average.extend((hit * np.cumsum(hit, axis=1) / ranks).sum(axis=1) / num_positives[rows])
    return {"map@r": math.fsum(average) / len(index), "r_precision": math.fsum(found) / len(index)}


def check_ahead(labels, gallery_labels, has_gallery, *, k, metrics, ids, gallery_ids, same_class):
    """Raise now what `evaluate` would raise for these arguments whatever the embeddings.

    Args:
        labels, gallery_labels: As in `evaluate`; `None` where they are not known yet.
        has_gallery: Whether there will be a gallery.
        k, metrics, ids, gallery_ids, same_class: As in `evaluate`.

    Raises:
        ValueError: as `evaluate` does.
    """
    relation = relations.get(same_class)
    metrics = check_metrics(metrics, METRICS)
    ranks = check_ranks(k) if "recall" in metrics else ()
    gallery = np.zeros((1, 1), np.float32) if has_gallery else None
    check_gallery_arguments(gallery, gallery, ids, gallery_ids)
    if labels is None or (has_gallery and gallery_labels is None):
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
    of_label = _occurrences(queries.labels, references.labels)
    return np.flatnonzero(of_label > _occurrences(queries.ids, references.ids))


def _occurrences(values, among):
    """How often each of `values` occurs in `among`."""
    among = np.sort(among)
    return np.searchsorted(among, values, "right") - np.searchsorted(among, values, "left")
