"""k-reciprocal re-ranking: references that share their neighbors with the query come first."""

import dataclasses

import numpy as np
from keras import ops

from keras_epos._checks import integer, number
from keras_epos._rows import Rows, blocks
from keras_epos.retrieval._checks import check_same_dim
from keras_epos.retrieval._nearest import nearest_of
from keras_epos.retrieval._product import Product, on_host
from keras_epos.retrieval._reciprocal import jaccard_block, jaccard_pairs, neighborhoods

# Pairs of neighborhoods that are compared one by one at a time.
PAIRS = 2**14


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Reranking:
    """Queries and gallery with another similarity, as `rerank` found it. Pass it to `evaluate`, or search in it.

        similarity = weight * cosine + (1 - weight) * jaccard

    Attributes:
        weight: In [0, 1].
        queries, gallery: The checked embeddings, `keras_epos._rows.Rows`; the same object without a gallery.
        of_queries, of_gallery: Their neighborhoods among the T rows of both, SciPy CSR `(N, T)` and `(G, T)`.
    """

    weight: float
    queries: Rows
    gallery: Rows
    of_queries: object
    of_gallery: object

    def nearest(self, k=10, *, exclude_self=None, block_size=1024):
        """As `keras_epos.retrieval.nearest`, by the similarity of the re-ranking: `(similarity, indices)`.

        Args:
            k: Integer from 1 to the number of references of a query.
            exclude_self: Whether row `i` of the gallery is left out for query `i`. By default it is when there is no
                gallery.
            block_size: Queries compared at once.

        Raises:
            ValueError: For `k` beyond the gallery.
        """
        integer("block_size", block_size, 1)
        exclude_self = self.gallery is self.queries if exclude_self is None else exclude_self
        return nearest_of(self.product(self.queries, self.gallery, block_size), k, exclude_self)

    def product(self, queries, gallery, block_size):
        """The `Product` of these queries and this gallery, perhaps in another order, with the similarity moved.

        Raises:
            ValueError: If they are others than those of the re-ranking.
        """
        for own, other in ((self.queries, queries), (self.gallery, gallery)):
            if not np.array_equal(own.values, other.values) or (self.queries is self.gallery) != (queries is gallery):
                raise ValueError(
                    "`reranking` must be of the same embeddings, and with a gallery if there is one. Received: one of "
                    f"{len(self.queries)} queries and {len(self.gallery)} references, for {len(queries)} and "
                    f"{len(gallery)}. Pass what `rerank` was given."
                )
        return _Reranked(self, queries, gallery, block_size)

    def __repr__(self):
        return (
            f"Reranking of {len(self.queries):,} queries and {len(self.gallery):,} references, with "
            f"{self.of_queries.nnz / len(self.queries):.0f} rows in the neighborhood of a query on average"
        )


class _Reranked(Product):
    """A `Product` of which each similarity is a mean with that of the neighborhoods."""

    def __init__(self, reranking, queries, gallery, block_size):
        super().__init__(queries, gallery, block_size)
        self._weight = reranking.weight
        self._of_queries = reranking.of_queries[queries.order]
        self._of_gallery = reranking.of_gallery[gallery.order]
        # Three roundings of numbers up to 1.
        self.error += 2.0**-23

    def by_block(self, rows):
        for start, similarity in super().by_block(rows):
            window = slice(start, start + similarity.shape[1])
            moved = self._mean(on_host(similarity), self._jaccard(rows, window))
            yield start, ops.convert_to_tensor(moved.astype(np.float32))

    def exact_rows(self, rows, indices):
        rows_of, columns_of = np.broadcast_to(rows[:, None], indices.shape).reshape(-1), indices.reshape(-1)
        jaccard = np.empty(len(rows_of))
        for part in blocks(np.arange(len(rows_of)), PAIRS):
            jaccard[part] = jaccard_pairs(self._of_queries[rows_of[part]], self._of_gallery[columns_of[part]])
        return self._mean(super().exact_rows(rows, indices), jaccard.reshape(indices.shape))

    def exact_block(self, rows, window):
        return self._mean(super().exact_block(rows, window), self._jaccard(rows, window))

    def _jaccard(self, rows, window):
        return jaccard_block(self._of_queries[rows], self._of_gallery[window])

    def _mean(self, cosine, jaccard):
        return self._weight * cosine + (1 - self._weight) * jaccard


def rerank(queries, gallery=None, *, k1=20, k2=6, weight=0.3, block_size=1024):
    """Move references towards a query that have the same neighbors: k-reciprocal re-ranking.

    All rows are searched among each other, queries and gallery together. Two rows are reciprocal neighbors if each is
    among the `k1` nearest of the other. The neighborhood of a row is its reciprocal neighbors, with weights
    `exp(similarity - 1)`, and the neighbors of those of them that have two thirds of theirs in it; averaged over the
    row and its `k2 - 1` nearest. Then

        jaccard    = sum of the smaller weights of both neighborhoods / sum of the larger ones
        similarity = weight * cosine + (1 - weight) * jaccard

    It uses no label. It helps where an image has several others of its class, as in re-identification, and may do harm
    where it has one or two. So measure it: evaluate with and without, and `compare` both. The answer to a query depends
    on which others were asked.

    A row is its own neighbor, and what ties with the next one is no neighbor, so that the order of the rows changes
    nothing. The published code divides all distances of a row by the largest one, and weights by their sum; here
    distances are `1 - cosine` and weights as in the paper.

    Args:
        queries: Finite floats `(N, D)`, any scale.
        gallery: `(G, D)`, or `None` to search the queries among themselves.
        k1: Neighbors that may be reciprocal, at least 1; about as many as a class has images.
        k2: Rows whose neighborhoods are averaged, at least 1, which averages none.
        weight: In [0, 1]: of the cosine. 1 changes nothing.
        block_size: Rows compared at once.

    Returns:
        `Reranking`, for `evaluate(..., reranking=...)` with the same embeddings. It holds the neighborhoods, some
        hundred rows each; pairs are compared block by block.

    Raises:
        ValueError: for shapes that do not fit, NaN or infinite embeddings, and numbers out of range.
        ImportError: If SciPy is missing.

    Reference: Zhong et al. 2017, https://arxiv.org/abs/1701.08398.

    Examples:
        >>> labels, generator = np.repeat(np.arange(40), 10), np.random.default_rng(0)
        >>> rows = generator.normal(size=(40, 8))[labels] + generator.normal(size=(400, 8))
        >>> after = keras_epos.retrieval.rerank(rows, k1=10, k2=3)
        >>> plain = keras_epos.retrieval.evaluate(rows, labels, metrics="map")
        >>> keras_epos.retrieval.evaluate(rows, labels, metrics="map", reranking=after)["map"] > plain["map"]
        True
    """
    integer("k1", k1, 1)
    integer("k2", k2, 1)
    integer("block_size", block_size, 1)
    number("weight", weight, "[0, 1]", "a share")
    query_side = Rows(queries, name="queries")
    gallery_side = query_side if gallery is None else Rows(gallery, name="gallery")
    check_same_dim(query_side, gallery_side)
    if gallery is None and len(query_side) < 2:
        raise ValueError("`queries` must have two rows or more without a gallery. Received: 1 row.")
    found = neighborhoods(query_side, gallery_side, k1, k2, block_size)
    return Reranking(float(weight), query_side, gallery_side, *found)
