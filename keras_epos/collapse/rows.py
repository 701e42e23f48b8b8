"""Embeddings and labels as the measures take them."""

import numpy as np

from keras_epos.retrieval.checks import check_embeddings, check_labels


def unit_rows(embeddings):
    """Rows of norm 1, float64 `(N, D)`; rows of zeros stay."""
    rows = check_embeddings("embeddings", embeddings).astype(np.float64)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)


def codes_of(name, labels, embeddings):
    """Labels as integers from 0 on, int64 `(N,)`, in the order of the sorted labels."""
    labels = check_labels(name, labels, len(embeddings))
    return np.unique(labels, return_inverse=True)[1].reshape(-1)
