"""What a gallery answers."""

import dataclasses

import numpy as np


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
