"""How far the embeddings of an engine are from the model's."""

from typing import NamedTuple

import numpy as np

from keras_epos.retrieval import evaluate

# In int8 single numbers move by a tenth, and only directions can be compared: the largest 1 - cosine allowed.
INT8_TOLERANCE = 0.1


class Difference(NamedTuple):
    """Of all rows the largest: 1 - cosine of the two embeddings, and |difference| as a share of the largest entry."""

    cosine: float
    entry: float


def difference(found, expected):
    """The `Difference` of embeddings `(N, dim)` from those of the model."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape:
        raise ValueError(f"The engine gave embeddings of shape {found.shape}, the model {expected.shape}.")
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    cosine = 1 - np.sum(found * expected, axis=1) / np.maximum(lengths, 1e-30)
    entry = np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30)
    return Difference(max(float(cosine.max()), 0.0) if np.isfinite(cosine).all() else float("nan"), float(entry))


def fault(found, precision, allowed):
    """Why a `Difference` is too large, in one sentence, or an empty string.

    Args:
        allowed: Largest share of the largest entry. In int8 `INT8_TOLERANCE` counts instead.
    """
    # Written so that NaN is too large as well.
    if precision == "int8":
        is_fine, what = found.cosine <= INT8_TOLERANCE, f"{found.cosine:.2g} in cosine, {INT8_TOLERANCE:g} is allowed"
    else:
        is_fine = found.entry <= allowed
        what = f"{found.entry:.2g} of the largest entry, {allowed:g} is allowed"
    return "" if is_fine else f"Its embeddings differ from the model's by {what}, so it was not kept."


def recall_at_1(embeddings, labels):
    """The share of the photographs whose nearest other one has their label, or None without labels."""
    return None if labels is None else evaluate(embeddings, labels, k=(1,), metrics=("recall",))["recall@1"]
