"""A gallery as a list, searched by loops in float64."""

import numpy as np

from keras_epos.retrieval import TIE


class Oracle:
    def __init__(self):
        self.rows = []

    def add(self, embeddings, ids, labels, payload):
        self.rows += list(zip(np.asarray(embeddings), ids, labels, payload, strict=True))

    def remove(self, ids):
        self.rows = [row for row in self.rows if row[1] not in ids]

    def search(self, query, k, where=lambda payload: True):
        """`[(similarity, id, label, payload)]` of one query, at most `k`."""
        found = [(cosine(query, row), *rest) for row, *rest in self.rows if where(rest[2])]
        # Stable: what was added first comes first.
        found.sort(key=lambda one: -one[0])
        order, position = [], 0
        while position < len(found):
            tied = [found[position]]
            while position + 1 < len(found) and tied[-1][0] - found[position + 1][0] <= TIE:
                position += 1
                tied.append(found[position])
            place = {row[1]: number for number, row in enumerate(self.rows)}
            order += sorted(tied, key=lambda one: place[one[1]])
            position += 1
        return order[:k]


def cosine(first, second):
    first, second = (np.asarray(row, np.float64) for row in (first, second))
    norms = np.linalg.norm(first) * np.linalg.norm(second)
    return float(np.dot(first, second) / norms) if norms > 0 else 0.0


def check(gallery, oracle, queries, k, where=None, function=lambda payload: True):
    """The gallery answers each query as the oracle does."""
    found = gallery.search(queries, k, where)
    assert found.ids.shape == found.labels.shape == found.similarity.shape == found.payload.shape == (len(queries), k)
    assert found.similarity.dtype == np.float32
    for number, query in enumerate(queries):
        expected = oracle.search(query, k, function)
        missing = k - len(expected)
        assert found.ids[number].tolist() == [one[1] for one in expected] + [None] * missing
        assert found.labels[number].tolist() == [one[2] for one in expected] + [None] * missing
        assert found.payload[number].tolist() == [one[3] for one in expected] + [{}] * missing
        similarity = [one[0] for one in expected] + [-np.inf] * missing
        np.testing.assert_allclose(found.similarity[number], similarity, rtol=0, atol=2e-7)


def clustered(num_rows, dim, seed, spread=1.0):
    """Rows in classes of ten, float32, as a trained model makes them."""
    generator = np.random.default_rng(seed)
    centers = generator.normal(size=(-(-num_rows // 10), dim))
    rows = np.repeat(centers, 10, axis=0)[:num_rows] + spread * generator.normal(size=(num_rows, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
