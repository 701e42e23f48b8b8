"""Rows of a gallery as points of a Qdrant collection."""

import hashlib
import json
import uuid

import numpy as np

from keras_epos._checks import integer
from keras_epos._rows import blocks
from keras_epos.gallery import _search, _where
from keras_epos.gallery._items import Items
from keras_epos.gallery._results import found_at

# Ids of points are UUIDs, made of the ids of the rows in this name space.
_SPACE = uuid.UUID("d3d6a0c6-6a0b-5b3e-9d0e-6b1f5c1c3a55")


def write_to_qdrant(gallery, client, collection, batch_size=256):
    """Write the rows of a gallery as points into a collection of a running Qdrant.

    Points that are there already, and the same, are passed over. So a write that was stopped or killed goes on with the
    same call, and to write twice changes nothing. Points of other ids stay. Needs `pip install keras-epos[qdrant]`.

    A point's vector is the row with norm 1, its id a UUID made of the row's id, and its payload
    `{"id", "label", "payload", "sha256"}`. A new collection compares by cosine, and keeps the gallery's fingerprint in
    its metadata (Qdrant 1.16 or later).

    It was tried with the client's local mode, not with a server.

    Args:
        gallery: A `keras_epos.Gallery`.
        client: A `qdrant_client.QdrantClient`.
        collection: Name of the collection, which is made if it is not there.
        batch_size: Points of a request.

    Returns:
        The number of points that were written.

    Raises:
        ValueError: for a collection of another fingerprint, dimension or distance. Nothing is written then.

    Examples:
        >>> client = qdrant_client.QdrantClient(":memory:")  # doctest: +SKIP
        >>> keras_epos.gallery.write_to_qdrant(gallery, client, "things")  # doctest: +SKIP
        3
    """
    models = _imported()
    integer("batch_size", batch_size, 1)
    if gallery.dim is None:
        raise ValueError("`gallery` must have rows. Received: one without any; `add` them first.")
    if client.collection_exists(collection):
        _check(client.get_collection(collection).config, gallery, collection)
    else:
        client.create_collection(
            collection,
            vectors_config=models.VectorParams(size=gallery.dim, distance=models.Distance.COSINE),
            metadata={"fingerprint": gallery.fingerprint},
        )
    segments = gallery._segments
    view = _search.View(segments, gallery.dim, gallery.storage, _where.chosen(segments, None), is_exact=True)
    written = 0
    for rows in blocks(np.arange(len(view)), batch_size):
        found = found_at(segments, np.zeros((len(rows), 1)), view.places(rows)[:, None], 1)
        points = {}
        for unit, one, label, payload in zip(
            view.unit(rows).astype(np.float32), found.ids[:, 0], found.labels[:, 0], found.payload[:, 0], strict=True
        ):
            about = {"id": Items.id_of(one), "label": label, "payload": payload}
            text = json.dumps(about, sort_keys=True)
            about["sha256"] = hashlib.sha256(text.encode() + unit.tobytes()).hexdigest()
            point = str(uuid.uuid5(_SPACE, json.dumps(about["id"])))
            points[point] = models.PointStruct(id=point, vector=unit.tolist(), payload=about)
        for there in client.retrieve(collection, list(points), with_payload=["sha256"]):
            if (there.payload or {}).get("sha256") == points[there.id].payload["sha256"]:
                del points[there.id]
        if points:
            client.upsert(collection, list(points.values()), wait=True)
        written += len(points)
    return written


def _check(config, gallery, collection):
    vectors, fingerprint = config.params.vectors, (config.metadata or {}).get("fingerprint")
    found = getattr(vectors, "size", None), str(getattr(vectors, "distance", None)).rpartition(".")[2].upper()
    if found != (gallery.dim, "COSINE"):
        raise ValueError(
            f"`collection` must compare one vector of {gallery.dim} numbers by cosine. Received: "
            f"collection={collection!r}, whose vectors are {vectors}."
        )
    if fingerprint != gallery.fingerprint:
        raise ValueError(
            f"`collection` must be of the fingerprint of the gallery, {gallery.fingerprint!r}. Received: "
            f"collection={collection!r} of {fingerprint!r}. Write to another collection."
        )


def _imported():
    try:
        from qdrant_client import models
    except ImportError as error:
        raise ImportError("`write_to_qdrant` needs the client of Qdrant: `pip install keras-epos[qdrant]`.") from error
    return models
