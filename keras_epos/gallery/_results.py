"""What a gallery answers."""

import dataclasses

import numpy as np

from keras_epos.gallery._items import objects


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """The nearest rows of each query, the nearest first. `None` and -inf stand where fewer than `k` rows match.

    Attributes:
        ids: Integers or strings `(Q, k)`.
        labels: Integers, strings or `None` `(Q, k)`.
        similarity: Cosine similarities, float32 `(Q, k)`.
        payload: Dictionaries `(Q, k)`, empty for rows without payload.
    """

    ids: np.ndarray
    labels: np.ndarray
    similarity: np.ndarray
    payload: np.ndarray

    def __len__(self):
        return len(self.ids)


@dataclasses.dataclass(frozen=True, eq=False)
class Matches:
    """The nearest row of each query, and whether it is near enough.

    Attributes:
        labels: The label of the nearest row, or `"unknown"` where it is not accepted, `(Q,)`.
        ids: Of the nearest row, accepted or not, `(Q,)`; `None` where no row matches `where`.
        similarity: Of the nearest row, float32 `(Q,)`; -inf where no row matches.
        accepted: Booleans `(Q,)`.
    """

    labels: np.ndarray
    ids: np.ndarray
    similarity: np.ndarray
    accepted: np.ndarray

    def __len__(self):
        return len(self.ids)


def found_at(segments, similarity, places, k):
    """`Found` of the rows at `places`, counted over the segments, filled up to `k` where they are fewer."""
    shape = len(similarity), k
    ids, labels, payload = (np.full(shape, None) for _ in range(3))
    padded = np.full(shape, -np.inf, np.float32)
    count = similarity.shape[1]
    padded[:, :count] = similarity
    payload.reshape(-1)[:] = [{} for _ in range(payload.size)]
    starts = np.cumsum([0, *map(len, segments)])
    numbers = np.searchsorted(starts, places, "right") - 1
    for number in np.unique(numbers):
        query, column = np.nonzero(numbers == number)
        items, rows = segments[number].items, places[query, column] - starts[number]
        ids[query, column] = objects(items.ids[rows].tolist())
        labels[query, column] = items.labels[rows]
        if items.payload is not None:
            payload[query, column] = objects([items.payload_of(row) for row in rows])
    return Found(ids, labels, padded, payload)
