"""What can be wrong with an evaluation before there are embeddings."""

import numpy as np

from keras_epos import same_class as relations
from keras_epos.retrieval.checks import (
    check_gallery_arguments,
    check_matched,
    check_metrics,
    check_ranks,
    check_within,
)
from keras_epos.retrieval.classes import relate
from keras_epos.retrieval.evaluate import ALL_FOUND, METRICS
from keras_epos.retrieval.sides import sides


def check_ahead(labels, gallery_labels, has_gallery, *, k, metrics, ids, gallery_ids, same_class):
    """Raise now what `evaluate` would raise for these arguments whatever the embeddings.

    Args:
        labels, gallery_labels: As in `evaluate`; `None` where they are not known yet.
        has_gallery: Whether there will be a gallery.
        k, metrics, ids, gallery_ids, same_class: As in `evaluate`.

    Raises:
        ValueError: as `evaluate` does.
    """
    relation = relations.get(same_class)
    metrics = check_metrics(metrics, METRICS)
    ranks = check_ranks(k) if "recall" in metrics else ()
    gallery = np.zeros((1, 1), np.float32) if has_gallery else None
    check_gallery_arguments(gallery, gallery, ids, gallery_ids)
    if labels is None or (has_gallery and gallery_labels is None):
        return
    # Rows that stand for the embeddings: only their number counts.
    rows = np.zeros((len(labels), 1), np.float32)
    gallery = np.zeros((len(gallery_labels), 1), np.float32) if has_gallery else None
    queries, references = sides(rows, gallery, ids, gallery_ids)
    relate(same_class, queries, references, labels, gallery_labels)
    if "recall" in metrics:
        check_within(ranks, len(references) - int(not has_gallery), ALL_FOUND)
    if relation is relations.equal:
        check_matched(_matched(queries, references), queries, references)


def _matched(queries, references):
    """The queries with a reference of their label that is not the same item. One id has one label."""
    of_label = _occurrences(queries.labels, references.labels)
    return np.flatnonzero(of_label > _occurrences(queries.ids, references.ids))


def _occurrences(values, among):
    """How often each of `values` occurs in `among`."""
    among = np.sort(among)
    return np.searchsorted(among, values, "right") - np.searchsorted(among, values, "left")
