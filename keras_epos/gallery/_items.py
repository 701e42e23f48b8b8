"""Ids, labels and payload of the rows of a segment."""

import copy
import json
import numbers

import numpy as np

from keras_epos._rows import describe, to_numpy

_INT64 = np.iinfo(np.int64)


class Items:
    """What belongs to each of the `N` rows.

    Attributes:
        ids: Int64 `(N,)` where all are integers that fit, else Python's integers and strings.
        labels: Python's integers, strings or `None`, `(N,)`.
        payload: A list of `N` dictionaries, or `None` where no row has any.
    """

    def __init__(self, ids, labels, payload=None):
        self.ids, self.labels, self.payload = ids, labels, payload
        keys = keys_of(ids)
        self._order = np.argsort(keys, kind="stable").astype(np.int32)
        self._keys = keys[self._order]

    def __len__(self):
        return len(self.ids)

    def find(self, ids, keys):
        """Yields `(place in ids, row)` for the ids that are here."""
        first, last = (np.searchsorted(self._keys, keys, side) for side in ("left", "right"))
        for place in np.flatnonzero(first < last):
            for row in self._order[first[place] : last[place]]:
                if self.ids[row] == ids[place]:
                    yield int(place), int(row)

    @staticmethod
    def id_of(one):
        """An id as Python has it."""
        return int(one) if isinstance(one, np.integer) else one

    def payload_of(self, row):
        """A copy, for users may change what they get."""
        return copy.deepcopy(self.payload[row]) if self.payload is not None else {}

    def take(self, rows):
        payload = None if self.payload is None else [self.payload[row] for row in rows]
        return Items(self.ids[rows], self.labels[rows], payload)

    @classmethod
    def joined(cls, parts):
        payload = None
        if any(part.payload is not None for part in parts):
            payload = [one for part in parts for one in (part.payload or [{}] * len(part))]
        ids = [part.ids for part in parts]
        if any(one.dtype == object for one in ids):
            ids = [objects(one.tolist()) for one in ids]
        return cls(np.concatenate(ids), np.concatenate([part.labels for part in parts]), payload)

    def lines(self):
        """Yields a line of JSON for each row: `[id, label]` or `[id, label, payload]`."""
        for row in range(len(self)):
            line = [self.id_of(self.ids[row]), self.labels[row]]
            if self.payload is not None:
                line.append(self.payload[row])
            yield json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def of_lines(cls, lines, known):
        """The items that `lines` wrote; `known` holds each label once, for many rows share it."""
        rows = [json.loads(line) for line in lines]
        payload = [row[2] for row in rows] if len(rows[0]) == 3 else None
        labels = objects([known.setdefault(row[1], row[1]) for row in rows])
        return cls(compact(objects([row[0] for row in rows])), labels, payload)


def keys_of(ids):
    """Int64 numbers that are equal where the ids are, and seldom elsewhere."""
    if ids.dtype == np.int64:
        return ids
    # -1 and -2 share a hash, and so may strings.
    return np.fromiter((one if _fits(one) else hash(one) for one in ids), np.int64, len(ids))


def _fits(one):
    return isinstance(one, int) and _INT64.min <= one <= _INT64.max


def objects(values):
    """A list as an array of Python's objects, whatever they are."""
    found = np.empty(len(values), object)
    found[:] = values
    return found


def compact(values):
    """Int64 where all of the objects are integers that fit."""
    return values.astype(np.int64) if all(map(_fits, values)) else values


def checked_ids(ids, num_rows=None):
    """Ids as `compact` returns them, each once."""
    found = _names("ids", ids, num_rows)
    for position, one in enumerate(found if found.dtype == object else ()):
        if one is None:
            raise ValueError(f"`ids` must be integers or strings. Received: ids[{position}]=None.")
    if found.dtype == np.int64:
        values, counts = np.unique(found, return_counts=True)
        twice = values[counts > 1].tolist()
    else:
        seen = set()
        twice = [one for one in found if one in seen or seen.add(one)]
    if twice:
        raise ValueError(f"`ids` must be unique. Received: ids with {twice[0]!r} more than once.")
    return found


def checked_labels(labels, num_rows, known):
    """Labels as an array of objects; `known` holds each once."""
    if labels is None:
        return np.full(num_rows, None, object)
    return objects([known.setdefault(one, one) for one in _names("labels", labels, num_rows).tolist()])


def checked_payload(payload, num_rows):
    """A list of dictionaries as JSON gives them back."""
    if payload is None:
        return None
    payload = list(payload) if not isinstance(payload, (dict, str)) else payload
    if not isinstance(payload, list) or len(payload) != num_rows:
        raise ValueError(
            f"`payload` must be a list of {num_rows} dictionaries, one a row. Received: payload of type "
            f"{type(payload).__name__} and length {len(payload)}."
        )
    return [_checked_dict(position, one) for position, one in enumerate(payload)]


def _checked_dict(position, one):
    try:
        if not isinstance(one, dict) or not all(isinstance(name, str) for name in one):
            raise TypeError("no dictionary with strings as keys")
        return json.loads(json.dumps(one, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`payload` must be dictionaries of values that JSON knows: strings, numbers, booleans, None, lists and "
            f"dictionaries. Received: payload[{position}]={one!r} ({error})."
        ) from error


def _names(name, values, num_rows):
    """Integers and strings: int64, or objects that may also be `None`."""
    if values is None or isinstance(values, (str, bytes)):
        raise ValueError(f"`{name}` must be integers or strings, one a row. Received: {name}={values!r}.")
    if not isinstance(values, (list, tuple)):
        values = to_numpy(values)
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim != 1:
            raise ValueError(f"`{name}` must be of shape (rows,). Received: {name}={describe(values)}.")
    if num_rows is not None and len(values) != num_rows:
        raise ValueError(f"`{name}` must have one entry for each of {num_rows} rows. Received: {len(values)} entries.")
    if getattr(values, "dtype", None) == np.int64:
        return values.copy()
    return compact(objects([_name(name, place, one) for place, one in enumerate(values)]))


def _name(name, place, one):
    if isinstance(one, numbers.Integral) and not isinstance(one, (bool, np.bool_)):
        return int(one)
    if isinstance(one, str):
        return str(one)
    if one is None:
        return None
    raise ValueError(f"`{name}` must be integers or strings. Received: {name}[{place}]={one!r}.")
