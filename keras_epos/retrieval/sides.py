"""What is compared: queries and gallery, each with its rows, ids and labels."""

import numpy as np

from keras_epos.retrieval.checks import check_embeddings, check_same_dim
from keras_epos.retrieval.codes import codes


class Side:
    """Queries or references: rows as given, what makes them unit rows, ids as small integers, and labels."""

    def __init__(self, name, embeddings):
        self.name = name
        self.rows = check_embeddings(name, embeddings)
        self.labels = self.ids = None
        norm = np.sqrt(np.einsum("nd,nd->n", self.rows, self.rows, dtype=np.float64))
        self.scale = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)

    def __len__(self):
        return len(self.rows)

    def unit(self, index):
        """Unit rows in float64; `index` is an array of any shape or a slice."""
        return self.rows[index].astype(np.float64) * self.scale[index][..., None]

    def sort_by_label(self):
        order = np.argsort(self.labels, kind="stable")
        self.rows, self.scale = self.rows[order], self.scale[order]
        self.labels, self.ids = self.labels[order], self.ids[order]


def sides(embeddings, gallery_embeddings, ids, gallery_ids):
    """Checked queries and gallery with their ids, and no labels yet. Without a gallery both are the same object."""
    queries = Side("embeddings", embeddings)
    if gallery_embeddings is None:
        if len(queries) < 2:
            raise ValueError("`embeddings` must have two rows or more without a gallery. Received: 1 row.")
        queries.ids = np.arange(len(queries)) if ids is None else codes(("ids", ids, len(queries)))[0]
        return queries, queries
    gallery = Side("gallery_embeddings", gallery_embeddings)
    check_same_dim(queries, gallery)
    if ids is None or gallery_ids is None:
        # No reference is a query; numbers that differ say so.
        queries.ids, gallery.ids = np.arange(len(queries)), -1 - np.arange(len(gallery))
    else:
        queries.ids, gallery.ids = codes(("ids", ids, len(queries)), ("gallery_ids", gallery_ids, len(gallery)))
    return queries, gallery
