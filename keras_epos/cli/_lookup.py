"""What a page about a gallery shows: the neighbors of an image, and which of them are accepted or wrong."""

import dataclasses
import json
import threading
from pathlib import Path

import numpy as np

from keras_epos.cli._pictures import small_picture
from keras_epos.data import decode_and_resize
from keras_epos.gallery._threshold import limits


@dataclasses.dataclass(frozen=True)
class Neighbor:
    """An image of a gallery.

    Attributes:
        row: Its place among the rows of the gallery.
        is_accepted: Whether it is near enough, or `None` without a threshold.
        is_right: Whether its label is that of the query, or `None` where that is not known.
    """

    row: int
    id: object
    label: object
    payload: dict
    similarity: float | None = None
    is_accepted: bool | None = None
    is_right: bool | None = None

    @property
    def shown_label(self):
        return "no label" if self.label is None else text_of(self.label)

    @property
    def name(self):
        return Path(str(self.id)).name


class Lookup:
    """A gallery of image files and its model.

    Args:
        gallery: `keras_epos.Gallery`, whose ids are paths.
        model: That of the gallery.
        image_size: Side in pixels, or `(height, width)`.

    Attributes:
        items: `Neighbor` of every row.
        labels: Those of the gallery, as text.
        fields: Each `field=value` of the payload, as text.
    """

    def __init__(self, gallery, model, image_size):
        self.gallery, self._model, self._image_size = gallery, model, image_size
        self._lock = threading.Lock()
        ids, labels = gallery.ids.tolist(), gallery.labels.tolist()
        self._rows = {one: row for row, one in enumerate(ids)}
        # A search for anything tells the payload of all rows.
        found = self._search(np.ones((1, gallery.dim)), max(1, len(ids)))
        payload = dict(zip(found.ids[0], found.payload[0], strict=True))
        self.items = [Neighbor(row, ids[row], labels[row], payload[ids[row]]) for row in range(len(ids))]
        self.labels = sorted({text_of(one) for one in labels if one is not None})
        self.fields = sorted({one for item in self.items for one in fields_of(item.payload)})

    def contents(self, row):
        """The file of a row, as it is."""
        return Path(str(self.items[row].id)).read_bytes()

    def neighbors(self, contents, k, label="", field="", row=None):
        """The `k` nearest images that match, the nearest first.

        Args:
            contents: Bytes of an image.
            k: How many.
            label: Of the neighbors, as text; empty for all.
            field: `field=value` of their payload; empty for all.
            row: Of the query, where it is in the gallery: it is no neighbor of its own, and its label is known.

        Raises:
            ValueError: If the image cannot be read.
        """
        vector = self._embed(contents)
        query = None if row is None else self.items[row]
        wanted, count = k, len(self.items)
        k = min(count, 8 * k if label else k + 1)
        while True:
            found = self._search(vector, max(1, k), where_of(field))
            rows = [self._rows[one] for one in found.ids[0] if one in self._rows]
            chosen = [
                (number, similarity)
                for number, similarity in zip(rows, found.similarity[0].tolist(), strict=False)
                if number != row and (not label or text_of(self.items[number].label) == label)
            ]
            if len(chosen) >= wanted or k >= count or len(rows) < k:
                return [self._judged(*one, query) for one in chosen[:wanted]]
            k = min(count, 8 * k)

    def browsed(self, number, label="", field=""):
        """Images that match, from all over the gallery, to begin with."""
        where = where_of(field) or (lambda payload: True)
        rows = [item.row for item in self.items if (not label or text_of(item.label) == label) and where(item.payload)]
        chosen = np.unique(np.linspace(0, len(rows) - 1, min(number, len(rows))).astype(int)) if rows else []
        return [self.items[rows[place]] for place in chosen]

    def answer(self, neighbors):
        """The label of the nearest, "unknown" if that is not accepted, or `None` without a threshold."""
        if self.gallery.threshold is None:
            return None
        return neighbors[0].shown_label if neighbors and neighbors[0].is_accepted else "unknown"

    def _judged(self, row, similarity, query):
        item, is_accepted = self.items[row], None
        if self.gallery.threshold is not None:
            is_accepted = similarity >= limits(self.gallery.threshold, [item.label])[0]
        is_right = None if query is None or query.label is None else item.label == query.label
        return dataclasses.replace(item, similarity=similarity, is_accepted=is_accepted, is_right=is_right)

    def _embed(self, contents):
        # It says in a sentence what is wrong with an image, on every backend.
        small_picture(contents)
        try:
            image = np.asarray(decode_and_resize(contents, self._image_size))
        except Exception as error:  # of many kinds, from inside of TensorFlow
            raise ValueError("An image must be one that can be decoded. Received: one that is damaged.") from error
        with self._lock:
            return self._model.predict_on_batch(image[None])

    def _search(self, vectors, k, where=None):
        return self.gallery.search(vectors, k, where, fingerprint=self.gallery.fingerprint)


def text_of(value):
    return value if isinstance(value, str) else json.dumps(value)


def fields_of(payload):
    return [f"{name}={text_of(value)}" for name, value in payload.items()]


def where_of(field):
    """The `where` of a search for `field=value`."""
    return (lambda payload: field in fields_of(payload)) if field else None
