"""How far the embeddings of an engine are from the model's."""

import numpy as np

from keras_epos.retrieval import evaluate

# In int8 single numbers move by a tenth, and only directions can be compared: the largest 1 - cosine allowed.
INT8_TOLERANCE = 0.1


def differences(found, expected):
    """Of all rows the largest 1 - cosine, and the largest difference of an entry as a share of the largest entry.

    Args:
        found: `(N, dim)`, from an engine.
        expected: `(N, dim)`, from the model.
    """
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape:
        raise ValueError(f"The engine gave embeddings of shape {found.shape}, the model {expected.shape}.")
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    cosines = np.sum(found * expected, axis=1) / np.maximum(lengths, 1e-30)
    entry = np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30)
    # `np.maximum` keeps NaN; rounding may leave -1e-16.
    return float(np.maximum(1 - cosines.min(), 0)), float(entry)


def fault(cosine, entry, precision, allowed):
    """Why these `differences` are too large, in one sentence, or None.

    Args:
        allowed: Largest share of the largest entry. In int8 `INT8_TOLERANCE` counts instead.
    """
    # Written so that NaN is too large as well.
    if precision == "int8":
        is_fine, what = cosine <= INT8_TOLERANCE, f"{cosine:.2g} in cosine, where {INT8_TOLERANCE:g} is allowed"
    else:
        is_fine, what = entry <= allowed, f"{entry:.2g} of the largest entry, where {allowed:g} is allowed"
    return None if is_fine else f"Its embeddings differ from the model's by {what}, so it was not kept."


def recall_at_1(embeddings, labels):
    """The share of the photographs whose nearest other one has their label, or None without labels."""
    return None if labels is None else evaluate(embeddings, labels, k=(1,), metrics=("recall",))["recall@1"]
