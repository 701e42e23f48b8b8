"""Shards of embeddings on their way into a table of LanceDB, some at a time, and each of them once."""

import json

import numpy as np

from keras_epos._rows import Rows
from keras_epos.gallery._items import checked_labels
from keras_epos.gallery._lance_rows import batches
from keras_epos.gallery._shards import ids_of, rows_of


def texts_of(ids):
    """The JSON of ids, as the table has them."""
    return list(map(str, ids.tolist())) if ids.dtype == np.int64 else [json.dumps(one) for one in ids]


def keys_of(texts):
    """Int64 numbers that are equal where texts are, in this process, and seldom elsewhere."""
    return np.fromiter(map(hash, texts), np.int64, len(texts))


def not_in_table(files, ids, present):
    """Those of the shards whose ids are not in the table, in order: pairs of path and number of rows.

    It takes 8 bytes for each row of both, and as many again while they are sorted.

    Args:
        files: Paths of the shards.
        ids: Of the table, lists of JSON texts.
        present: Function of JSON texts to the set of those that are in the table.

    Raises:
        ValueError: for an id that two rows of the shards have, and for a shard that is in the table in part.
    """
    known = np.sort(np.concatenate([np.empty(0, np.int64), *map(keys_of, ids)]))
    keys = [keys_of(texts_of(ids_of(path))) for path in files]
    _check_unique(files, keys)
    new = []
    for path, own in zip(files, keys, strict=True):
        is_known = _is_among(own, known)
        if is_known.all() and len(own):
            continue
        if is_known.any():
            # By their keys, which others may have: the table knows.
            found = present([text for text, one in zip(texts_of(ids_of(path)), is_known, strict=True) if one])
            if found:
                raise ValueError(
                    f"`shards` must not be in the gallery, or be in it whole. Received: {path.name}, of which "
                    f"{len(found)} of {len(own)} ids are, {json.loads(min(found))!r} among them. Remove them first."
                )
        if len(own):
            new.append((path, len(own)))
    return new


def _check_unique(files, keys):
    ordered = np.sort(np.concatenate([np.empty(0, np.int64), *keys]))
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    seen = set()
    for path, own in zip(files if len(twice) else (), keys, strict=False):
        for text in np.array(texts_of(ids_of(path)), object)[_is_among(own, twice)]:
            if text in seen:
                raise ValueError(
                    f"`shards` must have every id once. Received: {json.loads(text)!r} in {path.name} and before it. "
                    "Give the rows of the source ids that differ."
                )
            seen.add(text)


def _is_among(keys, ordered):
    """Booleans: which keys are among those in order."""
    if not len(ordered):
        return np.zeros(len(keys), bool)
    place = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    return ordered[place] == keys


def batches_of(files, schema, first):
    """The rows of shards as `pyarrow.RecordBatch`es of the table's schema, whose `order` counts from `first`."""
    for path in files:
        ids, embeddings, labels = rows_of(path)
        labels = checked_labels(labels, len(ids), {})
        rows = Rows(embeddings, name="shards")
        yield from batches(schema, rows, texts_of(ids), labels, [{}] * len(ids), first)
        first += len(ids)


def together(counted, at_once):
    """Yields `(paths, rows)`: of the pairs of `not_in_table` as many as have `at_once` rows, or a few more."""
    paths, number = [], 0
    for path, count in counted:
        paths.append(path)
        number += count
        if number >= at_once:
            yield paths, number
            paths, number = [], 0
    if paths:
        yield paths, number
