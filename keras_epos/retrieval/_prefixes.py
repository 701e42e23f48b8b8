"""What the first dimensions of embeddings find by themselves."""

import numpy as np

from keras_epos._checks import integer
from keras_epos.retrieval._evaluate import evaluate


def recall_by_dim(embeddings, labels, dims=None, **arguments):
    """Recall@1 of prefixes of the embeddings, each compared by cosine similarity.

    Args:
        embeddings: Floats `(N, D)`.
        labels: Integers `(N,)`.
        dims: Integers in [1, D]; by default 8, 16, 32 and so on, and D.
        arguments: Of `evaluate`, such as `ids` or `block_size`.

    Returns:
        Dictionary of number of dimensions to Recall@1, a share in [0, 1].

    Raises:
        ValueError: If a number of dimensions is out of range, or as `evaluate` says.

    Examples:
        >>> embeddings = np.array([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.9, 0.1, 0.8], [0.9, 0.2, 0.8]])
        >>> keras_epos.retrieval.recall_by_dim(embeddings, np.array([0, 0, 1, 1]), dims=(2, 3))
        {2: 0.5, 3: 1.0}
    """
    embeddings = np.asarray(embeddings)
    if embeddings.ndim != 2:
        raise ValueError(f"`embeddings` must be of shape (N, D). Received: shape {embeddings.shape}")
    size = embeddings.shape[1]
    if dims is None:
        dims = [*(2**power for power in range(3, 20) if 2**power < size), size]
    dims = [integer("dims", dim, 1, size) for dim in dims]
    return {
        dim: evaluate(embeddings[:, :dim], labels, k=(1,), metrics="recall", **arguments)["recall@1"] for dim in dims
    }
