"""What makes the figures of an evaluation wrong before any model is judged: leaks, copies, ties and collapse."""

from typing import NamedTuple

import numpy as np

from keras_epos._checks import integer, number
from keras_epos._rows import Rows, codes, describe
from keras_epos.retrieval._checks import check_same_dim
from keras_epos.retrieval._nearest import nearest

# Cosine similarities that float32 embeddings of one image may differ by.
COPY = 1e-6
# Mean similarity of all pairs from which on embeddings count as one point.
ONE_POINT = 0.95


class Finding(NamedTuple):
    """One fault.

    Attributes:
        name: `"copies"`, `"copies_of_another_class"`, `"near_copies"`, `"ties"`, `"one_point"`, `"zeros"`,
            `"no_reference"`, `"classes_in_training"`, `"copies_in_training"` or `"near_copies_in_training"`.
        message: What it is and what it does, in one sentence.
        rows: The queries that it is about, int64 `(M,)`, rising.
    """

    name: str
    message: str
    rows: np.ndarray


def inspect(
    queries,
    labels,
    gallery=None,
    gallery_labels=None,
    *,
    train=None,
    train_labels=None,
    near=0.99,
    block_size=1024,
):
    """Faults of an evaluation: what `evaluate` would count, and should not, or cannot tell.

    Args:
        queries: Finite floats `(N, D)`, any scale.
        labels: Integers or strings `(N,)`.
        gallery, gallery_labels: `(G, D)` and `(G,)`; without them each query is searched among the others.
        train, train_labels: `(T, D)` and `(T,)`, each alone or both: what the model was trained on.
        near: In (0, 1): the cosine similarity from which on two images may be the same photograph cut or compressed
            anew. It depends on the model; look at some of the rows.
        block_size: Queries compared at once.

    Returns:
        List of `Finding`, empty if nothing was found. Rows are queries by position.

    Raises:
        ValueError: for shapes that do not fit, and NaN or infinite embeddings.

    Examples:
        >>> rows = np.random.default_rng(0).normal(size=(6, 8))
        >>> rows[1] = rows[0]
        >>> [(found.name, found.rows.tolist()) for found in keras_epos.retrieval.inspect(rows, [0, 0, 1, 1, 2, 2])]
        [('copies', [0, 1])]
    """
    integer("block_size", block_size, 1)
    number("near", near, "(0, 1)", "a cosine similarity")
    side = Rows(queries, name="queries")
    if (gallery is None) != (gallery_labels is None):
        raise ValueError(
            "`gallery_labels` must be given with `gallery`, and only then. Received: "
            f"gallery={describe(gallery)}, gallery_labels={describe(gallery_labels)}."
        )
    own = [("labels", labels, len(side))]
    if gallery is not None:
        check_same_dim(side, Rows(gallery, name="gallery"))
        own.append(("gallery_labels", gallery_labels, len(gallery)))
    of_queries, *of_gallery = codes(*own)
    references = of_gallery[0] if of_gallery else of_queries
    found = [*_of_search(queries, gallery, of_queries, references, near, block_size), *_of_rows(side)]
    count = np.bincount(references, minlength=of_queries.max() + 1)[of_queries] - (gallery is None)
    found.append(("no_reference", "queries have no reference of their class, and no measure counts them", count <= 0))
    if train_labels is not None:
        known = codes(("labels", labels, len(side)), ("train_labels", train_labels, len(train_labels)))
        is_known = np.isin(*known)
        found.append(("classes_in_training", "queries are of classes that the model was trained on", is_known))
    if train is not None:
        check_same_dim(side, Rows(train, name="train"))
        similarity = nearest(queries, train, k=1, block_size=block_size)[0][:, 0]
        found.append(("copies_in_training", "queries are copies of training images", similarity >= 1 - COPY))
        is_near = (similarity >= near) & (similarity < 1 - COPY)
        found.append(("near_copies_in_training", f"queries are as near as {near:g} to a training image", is_near))
    return [
        Finding(name, f"{int(np.count_nonzero(now))} of {len(side)} {message}.", np.flatnonzero(now))
        for name, message, now in found
        if now.any()
    ]


def _of_search(queries, gallery, labels, references, near, block_size):
    """Yields name, message and the queries of faults that the two nearest references tell."""
    available = len(queries if gallery is None else gallery) - (gallery is None)
    similarity, indices = nearest(queries, gallery, min(2, available), block_size=block_size)
    first, is_copy = references[indices[:, 0]], similarity[:, 0] >= 1 - COPY
    same = first == labels
    yield "copies", "queries have a copy in the gallery, which is found whatever the model has learned", is_copy & same
    yield "copies_of_another_class", "queries have a copy under another label: one of both is wrong", is_copy & ~same
    is_near = (similarity[:, 0] >= near) & ~is_copy
    yield "near_copies", f"queries are as near as {near:g} to a reference, perhaps of the same photograph", is_near
    if similarity.shape[1] > 1:
        tied = (similarity[:, 0] - similarity[:, 1] <= COPY / 10) & (first != references[indices[:, 1]])
        yield "ties", "queries are as near to a second class as to the first, and a tie counts against them", tied


def _of_rows(side):
    mean = np.linalg.norm(side.sums(np.zeros(len(side), np.int64), 1)[0] / len(side))
    collapsed = np.full(len(side), len(side) > 1 and mean**2 >= ONE_POINT)
    yield (
        "one_point",
        "queries are practically one point: the model has collapsed",
        collapsed,
    )
    yield "zeros", "embeddings are zero and have no direction", ~side.values.any(axis=1)
