"""What can be wrong with the arguments of an evaluation."""

import difflib
import warnings
from collections.abc import Iterable

import numpy as np

from keras_epos._checks import integer
from keras_epos._rows import describe, to_numpy


def check_order(embeddings, labels, gallery_embeddings):
    """Turn away labels in the place of embeddings, and embeddings in that of labels."""
    if len(np.shape(labels)) != 2 or np.shape(labels)[1] == 1:
        return
    for name, values in (("embeddings", embeddings), ("gallery_embeddings", gallery_embeddings)):
        if len(np.shape(values)) == 1:
            raise ValueError(
                f"`{name}` must be numbers of shape (rows, dim). Received: {name}={describe(to_numpy(values))} and "
                f"labels={describe(to_numpy(labels))}. The order is embeddings, labels, gallery embeddings, gallery "
                "labels."
            )


def warn_of_pairs(queries, gallery, labels, gallery_labels):
    """Warn when labels seem to say whether row `i` of both sides match, which is another task."""
    if gallery is queries or len(queries) != len(gallery):
        return
    first, second = (to_numpy(values) for values in (labels, gallery_labels))
    if first.ndim == 1 and np.array_equal(first, second) and np.array_equal(np.unique(first), [0, 1]):
        warnings.warn(
            "The labels of queries and gallery are the same zeros and ones. If they say whether row i of one side "
            "matches row i of the other, this is no retrieval: labels must be classes, so that all rows of a class "
            "match each other.",
            stacklevel=3,
        )


def check_label_rows(arguments, multi_hot):
    """Labels of one or two sides for a function of them; `arguments` are `(name, labels, number of rows)`."""
    values = [_check_label_row(*argument, multi_hot) for argument in arguments]
    if multi_hot and values[0].shape[1] != values[-1].shape[1]:
        raise ValueError(
            f"`gallery_labels` must have the {values[0].shape[1]} columns of `labels`. Received: "
            f"gallery_labels={describe(values[-1])}."
        )
    return values


def _check_label_row(name, labels, num_rows, multi_hot):
    if labels is None:
        raise ValueError(f"`{name}` must be labels, one a row. Received: {name}=None.")
    values = to_numpy(labels)
    if multi_hot:
        values = _check_multi_hot(name, values)
    elif values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 0 or len(values) != num_rows:
        raise ValueError(
            f"`{name}` must have one entry for each of {num_rows} rows. Received: {name}={describe(values)}."
        )
    return values


def _check_multi_hot(name, values):
    if values.ndim != 2 or values.dtype.kind not in "iubf" or ((values != 0) & (values != 1)).any():
        raise ValueError(
            f'`{name}` must be zeros and ones of shape (rows, labels) with same_class="share_a_label". Received: '
            f"{name}={describe(values)}{'' if values.ndim != 2 else ' with other entries'}. For one class number a "
            "row leave `same_class` out."
        )
    return values.astype(bool)


def check_result(same, shape):
    if same.shape != shape:
        raise ValueError(
            f"`same_class` must return booleans {shape} for {shape[0]} queries and {shape[1]} references. Received: "
            f"{describe(same)}. Compare `labels[:, None]` with `reference_labels[None, :]`."
        )


def check_relevance(numbers, shape):
    """`relevance` of some queries and references, or of all."""
    if numbers.shape != shape or numbers.dtype.kind not in "biuf" or not np.isfinite(numbers).all():
        raise ValueError(
            f"`relevance` must be finite numbers {shape} for {shape[0]} queries and {shape[1]} references, or return "
            f"them. Received: {describe(numbers)}."
        )
    return numbers


def check_gallery_arguments(gallery_embeddings, gallery_labels, ids, gallery_ids):
    if (gallery_embeddings is None) != (gallery_labels is None):
        raise ValueError(
            "`gallery_labels` must be given with `gallery_embeddings`, and only then. Received: "
            f"gallery_embeddings={describe(gallery_embeddings)}, gallery_labels={describe(gallery_labels)}."
        )
    if gallery_ids is not None and (gallery_embeddings is None or ids is None):
        raise ValueError(
            f"`gallery_ids` must come with a gallery and `ids`. Received: gallery_ids={describe(gallery_ids)}."
        )
    if gallery_embeddings is not None and ids is not None and gallery_ids is None:
        raise ValueError(
            f"`ids` must come with `gallery_ids` when there is a gallery. Received: ids={describe(ids)}, "
            "gallery_ids=None."
        )


def check_same_dim(queries, gallery):
    dim = queries.dim
    if gallery.dim != dim:
        raise ValueError(
            f"`{gallery.name}` must have the {dim} columns of `{queries.name}`. Received: "
            f"{gallery.name}={describe(gallery.values)}."
        )


def check_one_label_per_id(queries, gallery):
    both = [queries] if gallery is queries else [queries, gallery]
    ids = np.concatenate([side.ids for side in both])
    order = np.argsort(ids, kind="stable")
    repeated = np.flatnonzero(np.diff(ids[order]) == 0)
    if not len(repeated):
        return
    labels = np.concatenate([side.labels for side in both])
    differs = labels[order[repeated]] != labels[order[repeated + 1]]
    wrong = int(differs.reshape(len(repeated), -1).any(axis=1).sum())
    if wrong:
        raise ValueError(
            f"`ids` must have one label each. Received: ids of which {wrong} stand with two labels. Rows with the "
            "same id are copies of one item."
        )


def check_matched(matched, queries, gallery):
    if not len(matched):
        raise ValueError(
            "`labels` must give at least one query a reference of its class. Received: "
            f"{len(queries)} queries and {len(gallery)} references without a match. Check that both come from the "
            "same classes."
        )


def check_metrics(metrics, known):
    metrics = (metrics,) if isinstance(metrics, str) or not isinstance(metrics, Iterable) else tuple(metrics)
    unknown = [metric for metric in metrics if metric not in known]
    if unknown or not metrics:
        near = difflib.get_close_matches(str(unknown[0]).lower(), known, n=1) if unknown else []
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"`metrics` must be some of {known}. Received: metrics={metrics!r}.{hint}")
    return metrics


def check_ranks(k):
    """Ranks as a tuple of integers."""
    ranks = (k,) if isinstance(k, str) or not isinstance(k, Iterable) or getattr(k, "ndim", 1) == 0 else tuple(k)
    if not ranks:
        raise ValueError(f"`k` must be one or more positive integers. Received: k={k!r}.")
    return tuple(integer("k", rank, 1) for rank in ranks)


def check_within(ranks, num_references, consequence):
    if max(ranks) > num_references:
        received = ranks[0] if len(ranks) == 1 else ranks
        raise ValueError(
            f"`k` must be at most the number of references of a query, {num_references} here. Received: k={received}. "
            f"{consequence}"
        )
