"""What a server of the birds must answer: what model and gallery say in Python."""

import numpy as np


def own_answers(model, gallery, images, k):
    """`{signature: {output: list or float array}}`, a row for each image."""
    embedding = np.asarray(model(images, training=False))
    found, matched = gallery.search(images, k), gallery.match(images)
    valid = [True] * len(images)
    bytes_of = {"embedding": embedding, "valid": valid}
    search = {
        "ids": texts(found.ids),
        "labels": texts(found.labels),
        "similarities": found.similarity.astype(np.float32),
        "valid": valid,
    }
    match = {
        "label": texts(matched.labels),
        "id": texts(matched.ids),
        "similarity": matched.similarity.astype(np.float32),
        "accepted": matched.accepted.tolist(),
        "valid": valid,
    }
    return {
        "serving_default": {"embedding": embedding},
        "embed": {"embedding": embedding},
        "embed_bytes": bytes_of,
        "search": search,
        "search_bytes": search,
        "match": match,
        "match_bytes": match,
    }


def texts(values):
    return np.where(np.equal(values, None), "", values).astype(str).tolist()
