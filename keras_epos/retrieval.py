"""Retrieval measures: Recall@K, MAP@R and R-precision, and the nearest neighbours, exactly and block by block.

Similarities are computed in float32 by the backend; wherever float32 cannot tell on which side of a threshold a
similarity falls, that pair is computed again in float64. So the result is that of a float64 brute force, whatever
the block size, in memory that does not grow with the product of queries and gallery. At 60,000 x 128 on a CPU Recall@K
costs about two plain matrix products and all measures four; when most similarities are equal, as after a collapse,
nearly everything is computed in float64 and takes several times as long.

Similarities that differ by no more than `TIE` are equal, and a tie counts against you: references of another class
come first. (In float64 a few units of 1e-16 are rounding; two copies of an image differ by that much or by nothing.)
"""

import math

import numpy as np
from keras import ops

TIE = 1e-12
METRICS = ("recall", "map@r", "r_precision")
# Numbers in a temporary float64 array on the host: 32 MB.
CHUNK = 2**22
# References fetched beyond those asked for, so that near-ties at the border seldom need the exact path.
SPARE = 8


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
    block_size=1024,
):
    """How well the nearest references of each query share its label.

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
        labels: Integers (any size, compared exactly) or strings, `(N,)` or `(N, 1)`.
        gallery_embeddings, gallery_labels: `(G, D)` and `(G,)`, both or neither.
        k: Ranks to report Recall@K at: integers from 1 to the number of references of a query.
        metrics: Some of `"recall"`, `"map@r"`, `"r_precision"`. Recall alone is quicker.
        ids: Integers or strings `(N,)`: references with the query's id are the same item and left out. Without a
            gallery the default is the row's position, so pass ids when several rows stem from one photograph.
        gallery_ids: `(G,)`, together with `ids`, when queries may also stand in the gallery.
        block_size: Queries compared at once, with four times as many references.

    Returns:
        Dictionary of floats from 0 to 1 such as `"recall@1"`, `"map@r"`, `"r_precision"`, and the integer
        `"queries_without_match"`.

    Raises:
        ValueError: for shapes that do not fit, NaN or infinite embeddings, labels that are not exact, `k` beyond the
            gallery, one id with two labels, and when no query has a reference of its class.

    Reference: Musgrave et al. 2020, https://arxiv.org/abs/2003.08505 (R-precision, MAP@R).
    """
    metrics = _check_metrics(metrics)
    _check_count("block_size", block_size)
    sides = _sides(embeddings, labels, gallery_embeddings, gallery_labels, ids, gallery_ids)
    queries, gallery = sides
    if "recall" in metrics:
        k = _check_ranks(k, len(gallery) - int(gallery_embeddings is None))
    best, num_positives = _best_positives(queries, gallery)
    matched = np.flatnonzero(num_positives)
    if not len(matched):
        raise ValueError(
            "`labels` must give at least one query a reference of its class. Received: "
            f"{len(queries)} queries and {len(gallery)} references without a match. Check that both come from the "
            "same classes."
        )
    product = _Product(queries, gallery, block_size)
    results = {}
    if "recall" in metrics:
        ahead = _count_negatives_ahead(product, matched, best, max(k))
        results = {f"recall@{rank}": int((ahead < rank).sum()) / len(matched) for rank in k}
    if "map@r" in metrics or "r_precision" in metrics:
        precision = _precision_at_r(product, matched, num_positives)
        results |= {name: precision[name] for name in ("map@r", "r_precision") if name in metrics}
    return results | {"queries_without_match": len(queries) - len(matched)}


def nearest(queries, gallery=None, k=10, *, exclude_self=None, block_size=1024):
    """The `k` references most similar to each query, exactly, in blocks.

    Args:
        queries: Finite floats `(N, D)` of any scale, normalised here.
        gallery: `(G, D)`, or `None` to search the queries among themselves.
        k: Integer from 1 to the number of references of a query.
        exclude_self: Whether row `i` of the gallery is left out for query `i`, by position. By default it is when
            there is no gallery.
        block_size: Queries compared at once.

    Returns:
        `(similarity, indices)`: cosine similarities, float32 `(N, k)` from -1 to 1 in falling order, and rows of the
        gallery, int64 `(N, k)`. Among equal similarities the order is not specified.

    Raises:
        ValueError: for shapes that do not fit, NaN or infinite embeddings, or `k` beyond the gallery.
    """
    if exclude_self is None:
        exclude_self = gallery is None
    _check_count("block_size", block_size)
    query_side = _Side("queries", queries)
    gallery_side = query_side if gallery is None else _Side("gallery", gallery)
    _check_same_dim(query_side, gallery_side, "gallery")
    (k,) = _check_ranks((k,), len(gallery_side) - int(exclude_self))

    def key(rows, indices, similarity):
        return np.where(indices == rows[:, None], -np.inf, similarity) if exclude_self else similarity

    product = _Product(query_side, gallery_side, block_size)
    similarity = np.empty((len(query_side), k), np.float32)
    indices = np.empty((len(query_side), k), np.int64)
    for rows in _blocks(np.arange(len(query_side)), block_size):
        similarity[rows], indices[rows] = _top(product, rows, k, int(exclude_self), key)
    return similarity, indices


# -- The two sides of a search -----------------------------------------------------------------------------------------


class _Side:
    """Queries or references: rows as given, what makes them unit rows, labels and ids as small integers."""

    def __init__(self, name, embeddings, labels=None, ids=None):
        self.name = name
        self.rows = _check_embeddings(name, embeddings)
        self.labels = labels
        self.ids = ids
        norm = np.sqrt(np.einsum("nd,nd->n", self.rows, self.rows, dtype=np.float64))
        self.scale = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)

    def __len__(self):
        return len(self.rows)

    def unit(self, index):
        """Unit rows in float64; `index` is an array of any shape or a slice."""
        return self.rows[index].astype(np.float64) * self.scale[index][..., None]

    def sorted_by_label(self):
        order = np.argsort(self.labels, kind="stable")
        return _Side(self.name, self.rows[order], self.labels[order], self.ids[order])


def _sides(embeddings, labels, gallery_embeddings, gallery_labels, ids, gallery_ids):
    """Checked queries and gallery, both sorted by label, so that the references of a class are one slice."""
    if (gallery_embeddings is None) != (gallery_labels is None):
        raise ValueError(
            "`gallery_labels` must be given with `gallery_embeddings`, and only then. Received: "
            f"gallery_embeddings={_describe(gallery_embeddings)}, gallery_labels={_describe(gallery_labels)}."
        )
    if gallery_ids is not None and (gallery_embeddings is None or ids is None):
        raise ValueError(
            f"`gallery_ids` must come with a gallery and `ids`. Received: gallery_ids={_describe(gallery_ids)}."
        )
    queries = _Side("embeddings", embeddings)
    gallery = queries if gallery_embeddings is None else _Side("gallery_embeddings", gallery_embeddings)
    _check_same_dim(queries, gallery, "gallery_embeddings")
    if gallery is queries:
        if len(queries) < 2:
            raise ValueError("`embeddings` must have two rows or more without a gallery. Received: 1 row.")
        queries.labels = _codes(("labels", labels, len(queries)))[0]
        queries.ids = np.arange(len(queries)) if ids is None else _codes(("ids", ids, len(queries)))[0]
        queries = gallery = queries.sorted_by_label()
    else:
        queries.labels, gallery.labels = _codes(
            ("labels", labels, len(queries)), ("gallery_labels", gallery_labels, len(gallery))
        )
        # Without ids no reference is a query; numbers that differ say so.
        queries.ids, gallery.ids = np.arange(len(queries)), -1 - np.arange(len(gallery))
        if ids is not None and gallery_ids is not None:
            queries.ids, gallery.ids = _codes(("ids", ids, len(queries)), ("gallery_ids", gallery_ids, len(gallery)))
        queries, gallery = queries.sorted_by_label(), gallery.sorted_by_label()
    _check_one_label_per_id(queries, gallery)
    return queries, gallery


def _codes(*arguments):
    """Labels or ids of one or two sides as int64 codes that are equal exactly where the originals are."""
    values = [_check_labels(*argument) for argument in arguments]
    if len({value.dtype.kind in "iu" for value in values}) > 1:
        kinds = ", ".join(f"{argument[0]}={_describe(argument[1])}" for argument in arguments)
        raise ValueError(f"`{arguments[1][0]}` must be of the kind of `{arguments[0][0]}`. Received: {kinds}.")
    if np.result_type(*values).kind == "f":
        # int64 beside uint64 would meet in float64 and merge large ids.
        values = [value.astype(object) for value in values]
    codes = np.unique(np.concatenate(values), return_inverse=True)[1].reshape(-1).astype(np.int64)
    return np.split(codes, np.cumsum([len(value) for value in values])[:-1])


# -- Recall@K: the rank of the first positive, by counting -------------------------------------------------------------


def _best_positives(queries, gallery):
    """Similarity of each query to its nearest positive in float64 `(Q,)`, and its number of positives `(Q,)`."""
    best = np.full(len(queries), -np.inf)
    num_positives = np.zeros(len(queries), np.int64)
    starts = np.flatnonzero(np.diff(queries.labels, prepend=queries.labels[0] - 1))
    first = np.searchsorted(gallery.labels, queries.labels[starts], "left")
    last = np.searchsorted(gallery.labels, queries.labels[starts], "right")
    for start, stop, low, high in zip(starts, [*starts[1:], len(queries)], first, last, strict=True):
        if low == high:
            continue
        window = gallery.unit(slice(low, high))
        for rows in _blocks(np.arange(start, stop), max(1, CHUNK // (high - low))):
            positive = queries.ids[rows, None] != gallery.ids[None, low:high]
            similarity = np.where(positive, queries.unit(rows) @ window.T, -np.inf)
            best[rows] = similarity.max(axis=1)
            num_positives[rows] = positive.sum(axis=1)
    return best, num_positives


def _count_negatives_ahead(product, index, best, limit):
    """How many negatives are at least as similar as the best positive, for the queries `index`: its rank less 1.

    Counts from `limit` on are cut short: they may be too low, yet not below `limit`.
    """
    ahead = np.zeros(len(best), np.int64)
    for rows in _blocks(index, product.block_size):
        threshold = best[rows] - TIE
        low = (threshold - product.error).astype(np.float32)
        for start, similarity in product.blocks(rows):
            query, reference, value = _above(_hide_positives(product, rows, start, similarity), low)
            is_ahead = value > threshold[query] + product.error
            unsure = np.flatnonzero(~is_ahead)
            exact = product.exact(rows, start, similarity.shape[1], query[unsure], reference[unsure])
            is_ahead[unsure] = exact >= threshold[query[unsure]]
            ahead[rows] += np.bincount(query[is_ahead], minlength=len(rows))
            low[ahead[rows] >= limit] = np.inf
    return ahead[index]


def _hide_positives(product, rows, start, similarity):
    """Moves references of the query's class below every threshold. Sorted labels make most blocks free of them."""
    labels = product.queries.labels[rows]
    references = product.gallery.labels[start : start + similarity.shape[1]]
    if labels[-1] < references[0] or references[-1] < labels[0]:
        return similarity
    same = labels[:, None] == references[None, :]
    return ops.where(ops.convert_to_tensor(same), -2.0, similarity)


# -- MAP@R and R-precision: the first R references ---------------------------------------------------------------------


def _precision_at_r(product, index, num_positives):
    """Means of R-precision and MAP@R over the queries `index`."""
    queries, gallery = product.queries, product.gallery
    num_excluded = int(np.bincount(np.unique(gallery.ids, return_inverse=True)[1]).max())

    def key(rows, indices, similarity):
        # A positive that is not farther ahead than a tie comes after the negative, and the query itself last.
        positive = queries.labels[rows, None] == gallery.labels[indices]
        itself = queries.ids[rows, None] == gallery.ids[indices]
        return np.where(itself, -np.inf, similarity - TIE * positive)

    found, average = [], []
    # Queries of similar R together: the largest R of a block decides how many references are fetched.
    for rows in _blocks(index[np.argsort(num_positives[index], kind="stable")], product.block_size):
        width = num_positives[rows].max()
        indices = _top(product, rows, int(width), num_excluded, key)[1]
        hit = queries.labels[rows, None] == gallery.labels[indices]
        ranks = np.arange(1, width + 1)
        hit &= ranks <= num_positives[rows, None]
        found.extend(hit.sum(axis=1) / num_positives[rows])
        average.extend((hit * np.cumsum(hit, axis=1) / ranks).sum(axis=1) / num_positives[rows])
    return {"r_precision": math.fsum(found) / len(index), "map@r": math.fsum(average) / len(index)}


def _top(product, rows, count, num_excluded, key):
    """The `count` references with the largest `key`, in falling order: `(keys, indices)`, float64 and int64.

    `key(rows, indices, similarity)` may only lower a similarity: by rounding, or to -inf for `num_excluded`
    references of a query at most.
    """
    width = count + num_excluded + SPARE
    if width > len(product.gallery) // 4:
        return _top_of_all(product, rows, count, key)
    indices, cutoff = product.candidates(rows, width)
    exact = product.exact_rows(rows, indices)
    keys, indices = _sort(key(rows, indices, exact), indices, count)
    # A reference that was not fetched is at most this similar, so a last key beyond it is certain.
    unsure = np.flatnonzero(keys[:, -1] <= cutoff + product.error)
    if len(unsure):
        keys[unsure], indices[unsure] = _top_of_all(product, rows[unsure], count, key)
    return keys, indices


def _top_of_all(product, rows, count, key):
    """`_top` from similarities to the whole gallery in float64: for small galleries, large classes and many ties."""
    keys, indices = np.empty((len(rows), count)), np.empty((len(rows), count), np.int64)
    everything = np.arange(len(product.gallery))[None, :]
    for part in _blocks(np.arange(len(rows)), max(1, CHUNK // len(product.gallery))):
        block = key(rows[part], everything, product.whole_rows(rows[part]))
        chosen = np.argpartition(-block, count - 1, axis=1)[:, :count]
        keys[part], indices[part] = _sort(np.take_along_axis(block, chosen, axis=1), chosen, count)
    return keys, indices


def _sort(keys, indices, count):
    order = np.argsort(-keys, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(keys, order, axis=1), np.take_along_axis(indices, order, axis=1)


# -- Similarities ------------------------------------------------------------------------------------------------------


class _Product:
    """Similarities between two sides: fast ones in float32 of known error, exact ones in float64 for chosen pairs."""

    def __init__(self, queries, gallery, block_size):
        self.queries, self.gallery = queries, gallery
        self.block_size = block_size
        dim = queries.rows.shape[1]
        self.bits = _significant_bits(dim, block_size)
        # |computed - exact| for unit rows: a sum of D float32 products in any order, and the rounding of the rows;
        # where the backend rounds the factors, also what `_factors` leaves out.
        self.error = (dim + 16) * 2.0**-24
        if self.bits < 24:
            self.error = (3 * dim + 16) * 2.0**-24 + 4 * 2.0 ** (2 - 2 * self.bits)
        self._blocks = [
            (
                int(index[0]),
                ops.convert_to_tensor(np.ascontiguousarray(_factors(gallery.unit(index), self.bits, 1).T)),
            )
            for index in _blocks(np.arange(len(gallery)), 4 * block_size)
        ]

    def blocks(self, rows):
        """Yields `(start, similarity)`: float32 `(len(rows), g)` for the `g` references from `start` on."""
        left = ops.convert_to_tensor(_factors(self.queries.unit(rows), self.bits, 0))
        for start, right in self._blocks:
            yield start, ops.matmul(left, right)

    def candidates(self, rows, width):
        """About the `width` most similar references `(Q, width)`, and the similarity that no other exceeds `(Q,)`."""
        found, cutoff = None, np.full(len(rows), -np.inf, np.float32)
        new, due = [], 1
        for count, (start, similarity) in enumerate(self.blocks(rows), 1):
            query, reference, value = _above(similarity, cutoff, width)
            new.append((query, start + reference, value))
            # Sorting whenever the number of blocks has doubled keeps both sorts and new finds few.
            if count == due or count == len(self._blocks):
                found, cutoff = _first(new, width, len(rows))
                new, due = [found], 2 * count
        return found[1].reshape(len(rows), width), cutoff

    def exact(self, rows, start, width, query, reference):
        """Float64 similarities of pairs from `rows` and the `width` references from `start` on."""
        if len(query) * 16 > len(rows) * width:
            # So many that all of them at once are quicker, as when the embeddings have collapsed.
            return (self.queries.unit(rows) @ self.gallery.unit(slice(start, start + width)).T)[query, reference]
        return self.exact_rows(rows[query], start + reference[:, None])[:, 0]

    def exact_rows(self, rows, indices):
        """Float64 similarities `(Q, M)` of queries `rows` `(Q,)` to references `indices` `(Q, M)`."""
        similarity = np.empty(indices.shape)
        dim = self.queries.rows.shape[1]
        for part in _blocks(np.arange(len(rows)), max(1, CHUNK // (indices.shape[1] * dim))):
            references = self.gallery.unit(indices[part])
            similarity[part] = np.einsum("qd,qmd->qm", self.queries.unit(rows[part]), references)
        return similarity

    def whole_rows(self, rows):
        """Float64 similarities `(Q, G)` of queries `rows` to the whole gallery."""
        similarity = np.empty((len(rows), len(self.gallery)))
        left = self.queries.unit(rows)
        for index in _blocks(np.arange(len(self.gallery)), max(1, CHUNK // left.shape[1])):
            similarity[:, index] = left @ self.gallery.unit(index).T
        return similarity


def _above(similarity, threshold, width=None):
    """Entries above the threshold of their row: `(row, column, value)`; where they are many, the first `width`."""
    num_rows, num_columns = similarity.shape
    # Most rows of most blocks hold none, and their largest entry tells at the cost of reading them once.
    rows = np.flatnonzero(ops.convert_to_numpy(ops.max(similarity, axis=1)) > threshold)
    near = similarity if 2 * len(rows) > num_rows else ops.take(similarity, rows.astype(np.int32), axis=0)
    near = ops.convert_to_numpy(near)
    rows = np.arange(num_rows) if len(near) == num_rows else rows
    flat = np.flatnonzero(near > threshold[rows, None])
    if width is not None and width < num_columns and len(flat) > 4 * width * num_rows:
        value, column = (ops.convert_to_numpy(part) for part in ops.top_k(similarity, width))
        return np.repeat(np.arange(num_rows), width), column.reshape(-1).astype(np.int64), value.reshape(-1)
    row, column = np.divmod(flat, num_columns)
    return rows[row], column, near.reshape(-1)[flat]


def _first(parts, width, num_rows):
    """The `width` largest entries of each row, in order, and the smallest of them, -inf for rows with fewer."""
    row, column, value = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.lexsort((-value, row))
    start = np.searchsorted(row[order], np.arange(num_rows))
    order = order[np.arange(len(order)) - start[row[order]] < width]
    size = np.bincount(row[order], minlength=num_rows)
    last = np.cumsum(size) - 1
    cutoff = np.where(size == width, value[order][last], -np.inf).astype(np.float32)
    return (row[order], column[order], value[order]), cutoff


def _significant_bits(dim, block_size):
    """Bits of the factors that the backend's matrix product keeps: 24 in float32, 11 in TF32, 8 in bfloat16.

    GPUs and TPUs round silently unless told otherwise, by settings that differ per backend; so it is tried out.
    """
    left = np.zeros((block_size, dim), np.float32)
    left[:, 0] = 1 + 2.0**-12
    left[::2, 0] = 1 + 2.0**-9
    right = np.zeros((dim, 4 * block_size), np.float32)
    right[0] = 1
    product = ops.convert_to_numpy(ops.matmul(ops.convert_to_tensor(left), ops.convert_to_tensor(right)))
    kept = product == left[:, :1]
    return 24 if kept.all() else 11 if kept[::2].all() else 8


def _factors(rows, bits, side):
    """Float32 factors whose product is that of `rows`, though the matrix product keeps only `bits` bits of each.

    Each number is cut into a head that survives rounding and a tail: `a b = head head + head tail + tail head`, laid
    side by side so that one product of three times the width adds them up.
    """
    rows = rows.astype(np.float32)
    if bits == 24:
        return rows
    mask = np.uint32(0xFFFFFFFF << (24 - bits) & 0xFFFFFFFF)
    head = (rows.view(np.uint32) & mask).view(np.float32)
    tail = rows - head
    return np.concatenate([head, tail, head] if side else [head, head, tail], axis=1)


def _blocks(index, size):
    for start in range(0, len(index), size):
        yield index[start : start + size]


# -- What can be wrong with the arguments ------------------------------------------------------------------------------


def _describe(value):
    if value is None or np.isscalar(value):
        return repr(value)
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    return type(value).__name__ if shape is None else f"{tuple(shape)} {getattr(dtype, 'name', dtype)}"


def _to_numpy(value):
    return np.asarray(value) if isinstance(value, (np.ndarray, list, tuple)) else ops.convert_to_numpy(value)


def _check_embeddings(name, embeddings):
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


def _check_labels(name, labels, num_rows):
    if labels is None:
        raise ValueError(f"`{name}` must be integers or strings, one a row. Received: {name}=None.")
    values = _to_numpy(labels)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(
            f"`{name}` must be of shape (rows,). Received: {name}={_describe(values)}. One-hot labels become class "
            "numbers by `argmax(axis=1)`."
        )
    if len(values) != num_rows:
        raise ValueError(f"`{name}` must have one entry for each of {num_rows} rows. Received: {len(values)} entries.")
    if values.dtype.kind == "f":
        values = _check_whole(name, values)
    if values.dtype.kind not in "iubUSO":
        raise ValueError(f"`{name}` must be integers or strings. Received: {name}={_describe(values)}.")
    return values.astype(np.int64) if values.dtype.kind == "b" else values


def _check_whole(name, values):
    """Float labels as integers, if they still are what they were before somebody made them floats."""
    limit = 2.0 ** (np.finfo(values.dtype).nmant + 1)
    if not (np.isfinite(values).all() and (values == np.round(values)).all() and (np.abs(values) < limit).all()):
        raise ValueError(
            f"`{name}` must be integers or strings. Received: {name}={_describe(values)} with fractions, or numbers "
            "too large to be exact. Keep labels integers throughout."
        )
    return values.astype(np.int64)


def _check_same_dim(queries, gallery, name):
    if queries.rows.shape[1] != gallery.rows.shape[1]:
        raise ValueError(
            f"`{name}` must have the {queries.rows.shape[1]} columns of `{queries.name}`. Received: "
            f"{name}={_describe(gallery.rows)}."
        )


def _check_one_label_per_id(queries, gallery):
    ids = np.concatenate([queries.ids, gallery.ids])
    labels = np.concatenate([queries.labels, gallery.labels])
    order = np.argsort(ids, kind="stable")
    repeated = np.diff(ids[order]) == 0
    wrong = int((repeated & (np.diff(labels[order]) != 0)).sum())
    if wrong:
        raise ValueError(
            f"`ids` must have one label each. Received: ids of which {wrong} stand with two labels. Rows with the "
            "same id are copies of one item."
        )


def _check_metrics(metrics):
    metrics = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    if not metrics or not set(metrics) <= set(METRICS):
        raise ValueError(f"`metrics` must be some of {METRICS}. Received: metrics={metrics!r}.")
    return metrics


def _check_count(name, value):
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")


def _check_ranks(k, num_references):
    ranks = (k,) if np.isscalar(k) else tuple(k)
    if not ranks:
        raise ValueError(f"`k` must be one or more positive integers. Received: k={k!r}.")
    for rank in ranks:
        _check_count("k", rank)
    if max(ranks) > num_references:
        raise ValueError(
            f"`k` must be at most the number of references of a query, {num_references} here. Received: k={k!r}. "
            "Every query would count as found."
        )
    return tuple(int(rank) for rank in ranks)
