"""After-processing of embeddings: rows moved towards their neighbors, and whitened."""

import dataclasses

import numpy as np

from keras_epos._checks import integer, number
from keras_epos._rows import Rows, chunks
from keras_epos.retrieval._checks import check_same_dim
from keras_epos.retrieval._nearest import nearest


def expand_queries(queries, gallery, k=10, *, alpha=3.0, block_size=1024):
    """Move each query towards its nearest references: alpha query expansion.

        expanded query = q + sum over its k nearest references g of max(0, similarity)^alpha g, of unit rows

    It helps where the first references are mostly right, and does harm where they are not, so measure it: evaluate with
    the queries and with the expanded ones, and `compare` both.

    Args:
        queries: Finite floats `(N, D)`, any scale.
        gallery: `(G, D)`.
        k: References that take part, from 1 to G.
        alpha: At least 0: how much more near references count. 0 is the mean.
        block_size: Queries compared at once.

    Returns:
        Unit rows, float32 `(N, D)`.

    Raises:
        ValueError: for shapes that do not fit, NaN or infinite rows, or numbers out of range.

    Reference: Radenovic, Tolias and Chum 2018, https://arxiv.org/abs/1711.02512.

    Examples:
        >>> gallery = np.array([[1.0, 0], [0, 1.0]])
        >>> keras_epos.retrieval.expand_queries(np.array([[2.0, 0.2]]), gallery, k=1).round(2)
        array([[1.  , 0.05]], dtype=float32)
    """
    query_side, gallery_side = Rows(queries, name="queries"), Rows(gallery, name="gallery")
    check_same_dim(query_side, gallery_side)
    return _expanded(query_side, gallery_side, k, alpha, nearest(queries, gallery, k, block_size=block_size))


def augment_gallery(gallery, k=10, *, alpha=3.0, block_size=1024):
    """Move each reference towards its nearest ones: database augmentation, the query expansion of a gallery.

    Args:
        gallery: Finite floats `(G, D)`, any scale.
        k: References that take part beside the row itself, from 1 to G - 1.
        alpha: At least 0, as in `expand_queries`.
        block_size: Rows compared at once.

    Returns:
        Unit rows, float32 `(G, D)`.

    Raises:
        ValueError: as `expand_queries` does.

    Reference: Arandjelovic and Zisserman 2012, https://doi.org/10.1109/CVPR.2012.6248018.

    Examples:
        >>> keras_epos.retrieval.augment_gallery(np.eye(3)[[0, 0, 1]], k=1)[1]
        array([1., 0., 0.], dtype=float32)
    """
    side = Rows(gallery, name="gallery")
    return _expanded(side, side, k, alpha, nearest(gallery, k=k, block_size=block_size))


def _expanded(queries, gallery, k, alpha, neighbors):
    number("alpha", alpha, "[0, inf)")
    similarity, indices = neighbors
    weights = np.maximum(similarity, 0).astype(np.float64) ** alpha
    moved = np.empty((len(queries), queries.dim), np.float32)
    for part in chunks(np.arange(len(queries)), k * queries.dim):
        rows = queries.unit(part) + np.einsum("qk,qkd->qd", weights[part], gallery.unit(indices[part]))
        moved[part] = Rows(rows).units
    return moved


@dataclasses.dataclass(frozen=True, eq=False)
class Whitening:
    """The mean and the principal directions of embeddings, as `whiten` found them. Call it with other embeddings.

    Attributes:
        mean: Of the unit rows, float64 `(D,)`.
        projection: Float64 `(D, dim)`: directions by falling variance, each divided by its standard deviation.
    """

    mean: np.ndarray
    projection: np.ndarray

    def __call__(self, embeddings):
        """Whitened unit rows, float32 `(N, dim)`."""
        rows = Rows(embeddings)
        _check_dim(rows, len(self.mean))
        whitened = np.empty((len(rows), self.projection.shape[1]), np.float32)
        for part in chunks(np.arange(len(rows)), rows.dim):
            whitened[part] = Rows((rows.unit(part) - self.mean) @ self.projection).units
        return whitened


def whiten(embeddings, dim=None):
    """Learn a whitening: directions in which embeddings vary little count as much as those in which they vary much.

    Learn it on training images, or on images that are neither queries nor gallery.

    Args:
        embeddings: Finite floats `(N, D)`, any scale, of more rows than `dim`.
        dim: Directions to keep, those of the largest variance; by default all that the embeddings have.

    Returns:
        `Whitening`, to call with queries and gallery.

    Raises:
        ValueError: for NaN or infinite embeddings, and if they vary in fewer than `dim` directions.

    Reference: Jegou and Chum 2012, https://doi.org/10.1007/978-3-642-33709-3_55.

    Examples:
        >>> rows = np.random.default_rng(0).normal(size=(100, 8))
        >>> keras_epos.retrieval.whiten(rows, dim=4)(rows).shape
        (100, 4)
    """
    rows = Rows(embeddings)
    if dim is not None:
        integer("dim", dim, 1, rows.dim)
    mean = np.zeros(rows.dim)
    for part in chunks(np.arange(len(rows)), rows.dim):
        mean += rows.unit(part).sum(axis=0) / len(rows)
    covariance = np.zeros((rows.dim, rows.dim))
    for part in chunks(np.arange(len(rows)), rows.dim):
        centered = rows.unit(part) - mean
        covariance += centered.T @ centered / len(rows)
    variance, directions = np.linalg.eigh(covariance)
    variance, directions = variance[::-1], directions[:, ::-1]
    available = int(np.count_nonzero(variance > 1e-12))
    if available < (dim or 1):
        raise ValueError(
            f"`dim` must be at most {available}, the directions in which these {len(rows)} embeddings vary. Received: "
            f"dim={dim}."
        )
    kept = slice(dim or available)
    return Whitening(mean, directions[:, kept] / np.sqrt(variance[kept]))


def _check_dim(rows, dim):
    if rows.dim != dim:
        raise ValueError(f"`embeddings` must have {dim} columns. Received: {rows.dim}.")
