"""How many neighbors rows have in common: k-reciprocal neighborhoods, sparse, and their Jaccard similarity.

A neighborhood has some hundred members whatever the number of rows, and nothing is made of all rows at once. The
similarity of two is no sparse matrix: through rows that are near to many, most of them share a member.
"""

import itertools

import numpy as np

from keras_epos import _rows
from keras_epos._rows import Rows, blocks, chunks
from keras_epos.retrieval._nearest import top
from keras_epos.retrieval._product import TIE, Product


def neighborhoods(queries, gallery, k1, k2, block_size):
    """The neighborhoods of queries and of references among the T rows of both: SciPy CSR `(N, T)` and `(G, T)`.

    Args:
        queries, gallery: `Rows`, perhaps the same object.
        k1: Neighbors that may be reciprocal, beside the row itself.
        k2: Rows whose neighborhoods are averaged, with the row itself.
        block_size: Rows compared at once.
    """
    everything = queries
    if gallery is not queries:
        everything = Rows(np.concatenate([queries.values, gallery.values]))
    neighbors = _Neighbors(Product(everything, everything, block_size), max(k1, k2 - 1))
    weights = _of_one(neighbors, k1)
    if k2 > 1:
        near = neighbors.first(k2 - 1)
        near.data /= np.diff(near.indptr)[_row_of_entry(near)]
        weights = _stacked(near[part] @ weights for part in blocks(np.arange(len(everything)), block_size))
    if gallery is queries:
        return weights, weights
    return weights[: len(queries)], weights[len(queries) :]


class _Neighbors:
    """The nearest other rows of each row, and how many of them are nearer than the next by more than a tie."""

    def __init__(self, product, k):
        self.product, self.size = product, len(product.queries)
        count = min(k + 1, self.size - 1)
        self._similarity = np.empty((self.size, count))
        self._indices = np.empty((self.size, count), np.int64)

        def key(rows, indices, similarity):
            return np.where(indices == rows[:, None], -np.inf, similarity)

        for rows in blocks(np.arange(self.size), product.block_size):
            self._similarity[rows], self._indices[rows] = top(product, rows, count, 1, key)

    def first(self, k):
        """Each row itself and its `k` nearest others, without those that tie with the next: CSR of ones."""
        similarity = self._similarity
        if k < similarity.shape[1]:
            is_near = similarity[:, :k] > similarity[:, k : k + 1] + TIE
        else:
            is_near = np.ones(similarity.shape, bool)
        row, place = np.nonzero(is_near)
        itself = np.arange(self.size)
        places = np.append(row, itself), np.append(self._indices[row, place], itself)
        return _sparse().csr_matrix((np.ones(len(places[0])), places), shape=(self.size, self.size))

    def reciprocal(self, k):
        """Those that are so in both directions."""
        found = self.first(k)
        return found.multiply(found.T).tocsr()


def _of_one(neighbors, k1):
    """Reciprocal neighbors of each row, and theirs where they agree, weighted by `exp(similarity - 1)`: CSR `(T, T)`.

    The neighborhood of `p` takes in half as many neighbors of each member `q` if it holds two thirds of them.
    """
    full, half = neighbors.reciprocal(k1), neighbors.reciprocal(k1 // 2)
    size_of_half, half_transposed = np.diff(half.indptr), half.T.tocsr()
    parts = []
    for rows in blocks(np.arange(neighbors.size), neighbors.product.block_size):
        members = full[rows]
        in_common = (members @ half_transposed).multiply(members).tocsr()
        in_common.data = (3 * in_common.data >= 2 * size_of_half[in_common.indices]).astype(float)
        in_common.eliminate_zeros()
        found = (members + in_common @ half).tocsr()
        query, reference = rows[_row_of_entry(found)], found.indices.astype(np.int64)
        for part in chunks(np.arange(len(query)), neighbors.product.queries.dim):
            similarity = neighbors.product.exact_rows(query[part], reference[part, None])[:, 0]
            found.data[part] = np.exp(np.where(query[part] == reference[part], 0, similarity - 1))
        parts.append(found)
    return _stacked(parts)


def jaccard_block(rows, columns):
    """Jaccard similarities of some neighborhoods with others, CSR `(A, T)` and `(B, T)`: float64 `(A, B)`."""
    by_member, width = columns.tocsc(), columns.shape[0]
    count = np.diff(by_member.indptr)
    # As many rows at a time as fit into memory with what shares a member with them, and with a sum for each column.
    work = width + np.bincount(_row_of_entry(rows), count[rows.indices], minlength=rows.shape[0])
    cuts = np.flatnonzero(np.diff(np.cumsum(work) // _rows.CHUNK)) + 1
    shared = np.empty((rows.shape[0], width))
    for first, last in itertools.pairwise([0, *cuts, rows.shape[0]]):
        part = rows[first:last]
        times = count[part.indices]
        entry = np.repeat(np.arange(part.nnz), times)
        other = np.arange(len(entry)) + (by_member.indptr[part.indices] - np.cumsum(times) + times)[entry]
        place = _row_of_entry(part)[entry] * width + by_member.indices[other]
        least = np.minimum(part.data[entry], by_member.data[other])
        shared[first:last] = np.bincount(place, least, minlength=(last - first) * width).reshape(-1, width)
    return shared / (_sums(rows)[:, None] + _sums(columns) - shared)


def jaccard_pairs(first, second):
    """Jaccard similarities of neighborhoods row by row, CSR `(P, T)` both: float64 `(P,)`."""
    shared = _sums(first.minimum(second))
    return shared / (_sums(first) + _sums(second) - shared)


def _sums(matrix):
    return np.asarray(matrix.sum(axis=1)).reshape(-1)


def _row_of_entry(matrix):
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def _stacked(parts):
    return _sparse().vstack(list(parts), format="csr")


def _sparse():
    try:
        from scipy import sparse
    except ImportError as error:
        raise ImportError("`rerank` needs SciPy: `pip install scipy`.") from error
    return sparse
