"""What can be wrong with the arguments."""

import difflib
import warnings
from collections.abc import Iterable

import numpy as np
from keras import ops

from keras_epos._checks import integer


def _describe(value):
    if value is None or np.isscalar(value):
        return repr(value)
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    return type(value).__name__ if shape is None else f"{tuple(shape)} {getattr(dtype, 'name', dtype)}"


def _to_numpy(value):
    return np.asarray(value) if isinstance(value, (np.ndarray, list, tuple)) else ops.convert_to_numpy(value)


def check_embeddings(name, embeddings):
    rows = _to_numpy(embeddings)
    if rows.ndim != 2 or 0 in rows.shape or rows.dtype.kind in "USOc":
        raise ValueError(f"`{name}` must be numbers of shape (rows, dim). Received: {name}={_describe(rows)}.")
    rows = np.ascontiguousarray(rows, np.float64 if rows.dtype == np.float64 or rows.dtype.kind in "iu" else np.float32)
    bad = int((~np.isfinite(rows).all(axis=1)).sum())
    if bad:
        raise ValueError(
            f"`{name}` must be finite. Received: {name} with NaN or infinity in {bad} of {len(rows)} rows. The model "
            "has diverged, or an input was not finite."
        )
    if rows.dtype == np.float64:
        # The squares of float32 numbers fit into float64; those of float64 numbers may not.
        largest = np.abs(rows).max(axis=1, keepdims=True)
        rows = rows / np.where(largest > 0, largest, 1)
    return rows


def check_order(embeddings, labels, gallery_embeddings):
    """Turn away labels in the place of embeddings, and embeddings in that of labels."""
    if len(np.shape(labels)) != 2 or np.shape(labels)[1] == 1:
        return
    for name, values in (("embeddings", embeddings), ("gallery_embeddings", gallery_embeddings)):
        if len(np.shape(values)) == 1:
            raise ValueError(
                f"`{name}` must be numbers of shape (rows, dim). Received: {name}={_describe(_to_numpy(values))} and "
                f"labels={_describe(_to_numpy(labels))}. The order is embeddings, labels, gallery embeddings, gallery "
                "labels."
            )


def warn_of_pairs(queries, gallery, labels, gallery_labels):
    """Warn when labels seem to say whether row `i` of both sides match, which is another task."""
    if gallery is queries or len(queries) != len(gallery):
        return
    first, second = (_to_numpy(values) for values in (labels, gallery_labels))
    if first.ndim == 1 and np.array_equal(first, second) and np.array_equal(np.unique(first), [0, 1]):
        warnings.warn(
            "The labels of queries and gallery are the same zeros and ones. If they say whether row i of one side "
            "matches row i of the other, this is no retrieval: labels must be classes, so that all rows of a class "
            "match each other.",
            stacklevel=3,
        )


def check_labels(name, labels, num_rows):
    if labels is None:
        raise ValueError(f"`{name}` must be integers or strings, one a row. Received: {name}=None.")
    values = _to_numpy(labels)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(
            f"`{name}` must be of shape (rows,). Received: {name}={_describe(values)}. For rows of several labels pass "
            '`same_class="share_a_label"`; one-hot labels become class numbers by `argmax(axis=1)`.'
        )
    if len(values) != num_rows:
        raise ValueError(f"`{name}` must have one entry for each of {num_rows} rows. Received: {len(values)} entries.")
    if values.dtype.kind == "f":
        values = _check_whole(name, values)
    if values.dtype.kind not in "iubUSO":
        raise ValueError(f"`{name}` must be integers or strings. Received: {name}={_describe(values)}.")
    return values


def _check_whole(name, values):
    """Float labels as integers, if they still are what they were before somebody made them floats."""
    limit = 2.0 ** (np.finfo(values.dtype).nmant + 1)
    if not (np.isfinite(values).all() and (values == np.round(values)).all() and (np.abs(values) < limit).all()):
        raise ValueError(
            f"`{name}` must be integers or strings. Received: {name}={_describe(values)} with fractions, or numbers "
            "too large to be exact. Keep labels integers throughout."
        )
    return values.astype(np.int64)


def check_label_rows(arguments, multi_hot):
    """Labels of one or two sides for a function of them; `arguments` are `(name, labels, number of rows)`."""
    values = [_check_label_row(*argument, multi_hot) for argument in arguments]
    if multi_hot and values[0].shape[1] != values[-1].shape[1]:
        raise ValueError(
            f"`gallery_labels` must have the {values[0].shape[1]} columns of `labels`. Received: "
            f"gallery_labels={_describe(values[-1])}."
        )
    return values


def _check_label_row(name, labels, num_rows, multi_hot):
    if labels is None:
        raise ValueError(f"`{name}` must be labels, one a row. Received: {name}=None.")
    values = _to_numpy(labels)
    if multi_hot:
        values = _check_multi_hot(name, values)
    elif values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 0 or len(values) != num_rows:
        raise ValueError(
            f"`{name}` must have one entry for each of {num_rows} rows. Received: {name}={_describe(values)}."
        )
    return values


def _check_multi_hot(name, values):
    if values.ndim != 2 or values.dtype.kind not in "iubf" or ((values != 0) & (values != 1)).any():
        raise ValueError(
            f'`{name}` must be zeros and ones of shape (rows, labels) with same_class="share_a_label". Received: '
            f"{name}={_describe(values)}{'' if values.ndim != 2 else ' with other entries'}. For one class number a "
            "row leave `same_class` out."
        )
    return values.astype(bool)


def check_result(same, shape):
    if same.shape != shape:
        raise ValueError(
            f"`same_class` must return booleans {shape} for {shape[0]} queries and {shape[1]} references. Received: "
            f"{_describe(same)}. Compare `labels[:, None]` with `reference_labels[None, :]`."
        )


def check_same_kind(arguments, values):
    """`arguments` are `(name, labels, number of rows)`, `values` their checked labels."""
    if len({value.dtype.kind in "iub" for value in values}) > 1:
        kinds = ", ".join(f"{argument[0]}={_describe(argument[1])}" for argument in arguments)
        raise ValueError(f"`{arguments[1][0]}` must be of the kind of `{arguments[0][0]}`. Received: {kinds}.")


def check_gallery_arguments(gallery_embeddings, gallery_labels, ids, gallery_ids):
    if (gallery_embeddings is None) != (gallery_labels is None):
        raise ValueError(
            "`gallery_labels` must be given with `gallery_embeddings`, and only then. Received: "
            f"gallery_embeddings={_describe(gallery_embeddings)}, gallery_labels={_describe(gallery_labels)}."
        )
    if gallery_ids is not None and (gallery_embeddings is None or ids is None):
        raise ValueError(
            f"`gallery_ids` must come with a gallery and `ids`. Received: gallery_ids={_describe(gallery_ids)}."
        )
    if gallery_embeddings is not None and ids is not None and gallery_ids is None:
        raise ValueError(
            f"`ids` must come with `gallery_ids` when there is a gallery. Received: ids={_describe(ids)}, "
            "gallery_ids=None."
        )


def check_same_dim(queries, gallery):
    dim = queries.rows.shape[1]
    if gallery.rows.shape[1] != dim:
        raise ValueError(
            f"`{gallery.name}` must have the {dim} columns of `{queries.name}`. Received: "
            f"{gallery.name}={_describe(gallery.rows)}."
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
