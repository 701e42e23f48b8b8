"""What is compared: queries and gallery, each with its rows, labels and ids."""

import numpy as np

from keras_epos.retrieval.checks import (
    check_embeddings,
    check_gallery_arguments,
    check_labels,
    check_one_label_per_id,
    check_same_dim,
    check_same_kind,
)


class Side:
    """Queries or references: rows as given, what makes them unit rows, labels and ids as small integers."""

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

    def assign(self, labels, ids):
        """Gives the rows their labels and ids, and sorts them by label."""
        order = np.argsort(labels, kind="stable")
        self.rows, self.scale = self.rows[order], self.scale[order]
        self.labels, self.ids = labels[order], ids[order]


def sides(embeddings, labels, gallery_embeddings, gallery_labels, ids, gallery_ids):
    """Checked queries and gallery, both sorted by label, so that the references of a class are one slice."""
    check_gallery_arguments(gallery_embeddings, gallery_labels, ids, gallery_ids)
    queries = Side("embeddings", embeddings)
    if gallery_embeddings is None:
        gallery = queries
        _assign_alone(queries, labels, ids)
    else:
        gallery = Side("gallery_embeddings", gallery_embeddings)
        check_same_dim(queries, gallery)
        _assign_both(queries, gallery, labels, gallery_labels, ids, gallery_ids)
    check_one_label_per_id(queries, gallery)
    return queries, gallery


def _assign_alone(rows, labels, ids):
    if len(rows) < 2:
        raise ValueError("`embeddings` must have two rows or more without a gallery. Received: 1 row.")
    labels = _codes(("labels", labels, len(rows)))[0]
    ids = np.arange(len(rows)) if ids is None else _codes(("ids", ids, len(rows)))[0]
    rows.assign(labels, ids)


def _assign_both(queries, gallery, labels, gallery_labels, ids, gallery_ids):
    labels, gallery_labels = _codes(("labels", labels, len(queries)), ("gallery_labels", gallery_labels, len(gallery)))
    if ids is None or gallery_ids is None:
        # No reference is a query; numbers that differ say so.
        ids, gallery_ids = np.arange(len(queries)), -1 - np.arange(len(gallery))
    else:
        ids, gallery_ids = _codes(("ids", ids, len(queries)), ("gallery_ids", gallery_ids, len(gallery)))
    queries.assign(labels, ids)
    gallery.assign(gallery_labels, gallery_ids)


def _codes(*arguments):
    """Labels or ids of one or two sides as int64 codes that are equal exactly where the originals are."""
    values = [check_labels(*argument) for argument in arguments]
    check_same_kind(arguments, values)
    if np.result_type(*values).kind == "f":
        # int64 beside uint64 would meet in float64 and merge large ids.
        values = [value.astype(object) for value in values]
    codes = np.unique(np.concatenate(values), return_inverse=True)[1].reshape(-1).astype(np.int64)
    return np.split(codes, np.cumsum([len(value) for value in values])[:-1])
