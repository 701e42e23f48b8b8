"""Embeddings and labels as every measure takes them: checked once, unit rows on demand, labels as small integers."""

import copy
import functools

import numpy as np
from keras import ops

# Numbers in a temporary float64 array on the host: 32 MB.
CHUNK = 2**22


class Rows:
    """Embeddings `(N, D)` that are finite, and what belongs to each row.

    Args:
        embeddings: Finite numbers `(N, D)`, arrays or tensors of any backend.
        labels: Integers or strings `(N,)` or `(N, 1)`, or `None`.
        name: Of the embeddings in messages.

    Attributes:
        values: The embeddings as they came, in order and scale: float64 if they are float64 or integers, else float32.
        classes: The distinct labels, sorted.
        labels: Int64 `(N,)`: the place of each label in `classes`; or what a user of the rows puts there.
        ids: Int64 `(N,)`, where rows have them: rows of one id are one item.

    Raises:
        ValueError: for embeddings that are no finite matrix, and labels that are not exact or not one a row.
    """

    def __init__(self, embeddings, labels=None, name="embeddings"):
        self.name = name
        self.values = _checked(name, embeddings)
        self.classes = self.labels = self.ids = self._order = None
        if labels is not None:
            self.classes, self.labels = classes_of(labels, len(self.values))

    @classmethod
    def of(cls, embeddings, *labels):
        """`Rows` of embeddings, and of labels if they are asked for. What is `Rows` already keeps those it has."""
        if isinstance(embeddings, cls):
            return embeddings
        rows = cls(embeddings)
        if labels:
            rows.classes, rows.labels = classes_of(*labels, len(rows))
        return rows

    def __len__(self):
        return len(self.values)

    @property
    def dim(self):
        return self.values.shape[1]

    @functools.cached_property
    def _divisors(self):
        """What rows of `values` are divided by, one after the other: their largest number, and then their norm.

        The first lets squares of float64 numbers fit; those of float32 numbers fit as they are.
        """
        is_float64 = self.values.dtype == np.float64
        largest, norms = np.ones(len(self) if is_float64 else 1), np.empty(len(self))
        for part in chunks(np.arange(len(self)), self.dim):
            rows = self.values[part].astype(np.float64)
            if is_float64:
                of_row = np.abs(rows).max(axis=1)
                largest[part] = np.where(of_row > 0, of_row, 1)
                rows /= largest[part, None]
            norms[part] = np.linalg.norm(rows, axis=1)
        norms[norms == 0] = np.inf
        return largest, norms

    def unit(self, index):
        """Rows of norm 1 in float64, zeros for rows of zeros; `index` is an array of any shape or a slice."""
        if self._order is not None:
            index = self._order[index]
        largest, norms = self._divisors
        rows = self.values[index].astype(np.float64)
        if len(largest) == len(norms):
            rows /= largest[index][..., None]
        rows /= norms[index][..., None]
        return rows

    @functools.cached_property
    def units(self):
        """All unit rows, float64 `(N, D)`, kept: for measures that need them all at once."""
        return self.unit(slice(None))

    @functools.cached_property
    def counts(self):
        """Rows of each class, int64 `(C,)`."""
        return np.bincount(self.labels, minlength=len(self.classes))

    def members(self):
        """The rows of each class: a list of index arrays, each rising."""
        return members_of(self.labels)

    def sums(self, groups, num_groups):
        """Sums of the unit rows of each group `(G, D)`, for `groups` int `(N,)`. No second copy of the rows is made."""
        sums = np.zeros((num_groups, self.dim))
        for part in chunks(np.arange(len(self)), self.dim):
            np.add.at(sums, groups[part], self.unit(part))
        return sums

    @property
    def order(self):
        """The place that each row had before rows were sorted, int64 `(N,)`."""
        return np.arange(len(self)) if self._order is None else self._order

    def sorted_by_label(self):
        """The same rows, those of a label side by side, without a second copy of them."""
        rows = copy.copy(self)
        rows._order = np.argsort(self.labels, kind="stable")
        rows.labels, rows.ids = self.labels[rows._order], self.ids[rows._order]
        return rows


def blocks(index, size):
    """Yields `size` entries of `index` at a time."""
    for start in range(0, len(index), size):
        yield index[start : start + size]


def chunks(index, width):
    """Yields as many entries of `index` at a time as fit into memory with `width` numbers each."""
    return blocks(index, max(1, CHUNK // width))


def members_of(codes):
    """The places of each of the integers from 0 on, one array each, rising."""
    return np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])


def classes_of(labels, num_rows, name="labels"):
    """The distinct labels in order, and the place of each label among them, int64 `(N,)`."""
    classes, places = np.unique(check_labels(name, labels, num_rows), return_inverse=True)
    return classes, places.reshape(-1)


def codes(*arguments):
    """Labels or ids of one or two sides as int64 codes that are equal exactly where the originals are.

    Args:
        arguments: `(name, values, number of rows)` of each side.

    Returns:
        List of arrays `(rows,)`, one a side.
    """
    values = [check_labels(*argument) for argument in arguments]
    _check_same_kind(arguments, values)
    if np.result_type(*values).kind == "f":
        # int64 beside uint64 would meet in float64 and merge large ids.
        values = [value.astype(object) for value in values]
    numbers = np.unique(np.concatenate(values), return_inverse=True)[1].reshape(-1).astype(np.int64)
    return np.split(numbers, np.cumsum([len(value) for value in values])[:-1])


def describe(value):
    """A value, or its shape and dtype, for a message."""
    if value is None or np.isscalar(value):
        return repr(value)
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    return type(value).__name__ if shape is None else f"{tuple(shape)} {getattr(dtype, 'name', dtype)}"


def to_numpy(value):
    return ops.convert_to_numpy(value) if ops.is_tensor(value) else np.asarray(value)


def _slices(rows):
    """Slices of as many rows at a time as fit into memory once more."""
    step = max(1, CHUNK // rows.shape[1])
    return (slice(start, start + step) for start in range(0, len(rows), step))


def _checked(name, embeddings):
    rows = to_numpy(embeddings)
    if rows.ndim != 2 or 0 in rows.shape or rows.dtype.kind in "USOc":
        raise ValueError(f"`{name}` must be numbers of shape (rows, dim). Received: {name}={describe(rows)}.")
    rows = np.ascontiguousarray(rows, np.float64 if rows.dtype == np.float64 or rows.dtype.kind in "iu" else np.float32)
    bad = sum(int((~np.isfinite(rows[part]).all(axis=1)).sum()) for part in _slices(rows))
    if bad:
        raise ValueError(
            f"`{name}` must be finite. Received: {name} with NaN or infinity in {bad} of {len(rows)} rows. The model "
            "has diverged, or an input was not finite."
        )
    return rows


def check_labels(name, labels, num_rows):
    if labels is None:
        raise ValueError(f"`{name}` must be integers or strings, one a row. Received: {name}=None.")
    values = to_numpy(labels)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(
            f"`{name}` must be of shape (rows,). Received: {name}={describe(values)}. For rows of several labels pass "
            '`same_class="share_a_label"`; one-hot labels become class numbers by `argmax(axis=1)`.'
        )
    if len(values) != num_rows:
        raise ValueError(f"`{name}` must have one entry for each of {num_rows} rows. Received: {len(values)} entries.")
    if values.dtype.kind == "f":
        values = _check_whole(name, values)
    if values.dtype.kind not in "iubUSO":
        raise ValueError(f"`{name}` must be integers or strings. Received: {name}={describe(values)}.")
    return values


def _check_whole(name, values):
    """Float labels as integers, if they still are what they were before somebody made them floats."""
    limit = 2.0 ** (np.finfo(values.dtype).nmant + 1)
    if not (np.isfinite(values).all() and (values == np.round(values)).all() and (np.abs(values) < limit).all()):
        raise ValueError(
            f"`{name}` must be integers or strings. Received: {name}={describe(values)} with fractions, or numbers "
            "too large to be exact. Keep labels integers throughout."
        )
    return values.astype(np.int64)


def _check_same_kind(arguments, values):
    """`arguments` are `(name, labels, number of rows)`, `values` their checked labels."""
    if len({value.dtype.kind in "iub" for value in values}) > 1:
        kinds = ", ".join(f"{argument[0]}={describe(argument[1])}" for argument in arguments)
        raise ValueError(f"`{arguments[1][0]}` must be of the kind of `{arguments[0][0]}`. Received: {kinds}.")
