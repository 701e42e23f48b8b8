"""Agreement of a label with its surroundings: who else is near, and of which class."""

import numpy as np

from keras_epos.retrieval.nearest import nearest


def label_agreement(embeddings, codes, neighbours=10, block_size=1024):
    """`rho_i` = share of the `neighbours` nearest of all samples, by cosine similarity, that have the label of i.

    Args:
        embeddings: Finite floats `(N, D)` of all classes.
        codes: Integers `(N,)`, the labels.
        neighbours: At least 1; of fewer other samples all count.
        block_size: Samples compared at once.

    Returns:
        Float64 `(N,)` from 0 to 1; 1 for a sample alone in the data set.
    """
    neighbours = min(neighbours, len(codes) - 1)
    if neighbours == 0:
        return np.ones(len(codes))
    _, indices = nearest(embeddings, k=neighbours, block_size=block_size)
    return np.mean(codes[indices] == codes[:, None], axis=1)
