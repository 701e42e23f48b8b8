"""Embeddings that are searched: added and removed at any time, kept in memory or in a folder."""

import threading
from pathlib import Path

import numpy as np

from keras_epos._checks import integer, one_of
from keras_epos.gallery import _folder, _search, _threshold, _where
from keras_epos.gallery._answers import Answers
from keras_epos.gallery._faiss import Faiss, Index, engine_of
from keras_epos.gallery._fingerprint import fingerprint_of
from keras_epos.gallery._items import Items, checked_ids, checked_labels, checked_payload, keys_of, objects
from keras_epos.gallery._results import found_at
from keras_epos.gallery._segment import Segment, appended, without
from keras_epos.gallery._storage import STORAGES


class Gallery(Answers):
    """Embeddings with ids, labels and payload: what is like a query, and is it near enough to be the same?

    The search is exact by default: the ranking is that of a float64 brute force over all rows that match, and ties
    (similarities that differ by less than 1e-12) stand in the order in which they were added. It goes block by block
    on the active Keras backend.

    Args:
        model: A callable `keras.Model` whose output is embeddings `(batch, dim)`: `add`, `search` and `match` then take
            its inputs. The gallery is bound to it by its fingerprint, the SHA-256 of its configuration and weights.
        fingerprint: A string of yours that names model and preprocessing, where embeddings are made elsewhere. Queries
            that state another are refused. Without it, and without a model, nothing is checked.
        dim: Length of the embeddings. By default that of the first that are added.
        storage: What is kept of each row in memory, and what that loses in `benchmarks/gallery.py` of a Recall@1 of
            94.9 %, among 100,000 rows of 128 dimensions in classes of ten:

            - `"float32"`: `4 dim` bytes. Nothing is lost: rows that come as float32 are kept as they are, and others as
              unit rows in float32.
            - `"float16"`: `2 dim` bytes. No loss of Recall@1; similarities differ by some 1e-4, and 0.02 % of the ten
              nearest are others.
            - `"int8"`: `dim` bytes. No loss, and the ten nearest are the same: the best candidates by int8 are ranked
              by their float32 rows, which stay in a file, that of the gallery's folder or a temporary one.
            - `"binary"`: `dim / 8` bytes, the signs. 0.3 % of Recall@1, and 17 % of the ten nearest are others. Ranked
              as int8, from more candidates.

            Beside it, 8 bytes a row for its norm, 12 to find its id, and ids, labels and payload as Python has them.
        engine: `"exact"`, `"faiss"` or a `keras_epos.gallery.Faiss`. A search with `where` is always exact.
        threshold: Cosine similarity from which on `match` accepts; or the `Threshold` that `keras_epos.calibrate`
            returns, perhaps with one for each label. Kept with the gallery.

    Attributes:
        dim: Length of the embeddings, `None` before the first.
        ids, labels: Those of all rows, in the order in which they were added: object arrays `(N,)`.
        fingerprint: Of the model, or the string that was given, or `None`.
        threshold: May be set at any time.
        folder: `pathlib.Path` of the folder that the gallery is bound to, or `None`.

    Raises:
        ValueError: for arguments of another form, each with what is expected.

    Examples:
        >>> gallery = keras_epos.Gallery(threshold=0.9)
        >>> gallery.add(np.eye(3), ids=["a", "b", "c"], labels=["red", "green", "blue"])
        >>> gallery.match(np.array([[0.0, 0.1, 1.0], [1.0, 1.0, 1.0]])).labels.tolist()
        ['blue', 'unknown']
    """

    def __init__(self, model=None, *, fingerprint=None, dim=None, storage="float32", engine="exact", threshold=None):
        super().__init__(model, fingerprint, dim)
        self.storage = one_of("storage", storage, STORAGES)
        self.engine = engine_of(engine)
        self.folder, self._generation = None, None
        self._threshold = _threshold.checked(threshold)
        self._segments, self._known = [], {}
        # Of faiss, and what the folder holds of it: of all rows or the first, by their places.
        self._index, self._saved_index = None, None
        self._lock = threading.RLock()

    def __len__(self):
        return sum(segment.num_kept for segment in self._segments)

    def __repr__(self):
        return (
            f"<Gallery of {len(self)} rows, dim={self.dim}, storage={self.storage!r}, "
            f"engine={'exact' if self.engine is None else self.engine!r}>"
        )

    @property
    def ids(self):
        parts = [segment.items.ids[segment.kept()].tolist() for segment in self._segments]
        return objects([one for part in parts for one in part])

    @property
    def labels(self):
        parts = [segment.items.labels[segment.kept()] for segment in self._segments]
        return np.concatenate([*parts, objects([])])

    @property
    def threshold(self):
        return self._threshold

    @threshold.setter
    def threshold(self, threshold):
        old, self._threshold = self._threshold, _threshold.checked(threshold)
        try:
            self._commit(self._segments)
        except BaseException:
            self._threshold = old
            raise

    def add(self, inputs, ids, labels=None, payload=None, *, replace=False, fingerprint=None):
        """Append rows. A gallery that is bound to a folder writes them there, all of them or none.

        Args:
            inputs: Embeddings `(N, D)` of any scale; with a model, its inputs.
            ids: Integers or strings `(N,)`, each once.
            labels: Integers or strings `(N,)`, or `None`.
            payload: List of `N` dictionaries of values that JSON knows, or `None`.
            replace: Whether ids that are present are removed first. They are refused otherwise.
            fingerprint: That of what made the embeddings. With a model: `inputs` are embeddings that it has made.

        Raises:
            ValueError: for rows that are not finite or of another length, ids that are present, other arguments of
                another form, and another fingerprint. Nothing is added then.
            OSError: if the folder cannot be written. Nothing is added then.
        """
        rows = self._embed(inputs, fingerprint, "inputs")
        ids = checked_ids(ids, len(rows))
        payload = checked_payload(payload, len(rows))
        with self._lock:
            items = Items(ids, checked_labels(labels, len(rows), self._known), payload)
            segments = self._segments
            present = self._find(ids)
            if present and not replace:
                position = min(present)
                raise ValueError(
                    f"`ids` must not be in the gallery yet. Received: ids[{position}]="
                    f"{Items.id_of(ids[position])!r}, which is. Pass `replace=True` to remove what is there first."
                )
            if present:
                segments = without(segments, present.values())
            dim, self.dim = self.dim, rows.dim
            try:
                new = Segment.of_rows(rows, self.storage, items)
                self._commit(appended(segments, new, rows.dim, self.storage), len(new))
            except BaseException:
                self.dim = dim
                raise

    def remove(self, ids):
        """Remove rows. A gallery that is bound to a folder writes that there.

        Args:
            ids: Integers or strings, each once and in the gallery.

        Raises:
            ValueError: for ids that are not in the gallery. Nothing is removed then.
        """
        ids = checked_ids(ids)
        with self._lock:
            present = self._find(ids)
            absent = [position for position in range(len(ids)) if position not in present]
            if absent:
                one = Items.id_of(ids[absent[0]])
                raise ValueError(
                    f"`ids` must be in the gallery. Received: ids[{absent[0]}]={one!r}, which is not, and "
                    f"{len(absent) - 1} others."
                )
            segments = without(self._segments, present.values())
            # What is mostly removed is written anew; the rest stays as it is.
            segments = [
                Segment.joined([segment], self.dim, self.storage) if 2 * segment.num_kept < len(segment) else segment
                for segment in segments
            ]
            self._commit([segment for segment in segments if segment is not None])

    def search(self, queries, k=10, where=None, fingerprint=None):
        """The `k` most similar rows of each query.

        Args:
            queries: Embeddings `(Q, D)` of any scale; with a model, its inputs.
            k: Integer from 1.
            where: Which rows count: a dictionary `{field: value or list of values}` of the payload, where a missing
                field is `None`; or a function from the payload of a row, a dictionary, to True or False. The ranking is
                that of the rows that match.
            fingerprint: That of what made the embeddings. With a model: `queries` are embeddings that it has made.

        Returns:
            `keras_epos.gallery.Found`: `ids`, `labels`, `similarity` (float32, falling) and `payload`, each `(Q, k)`.
            Where fewer than `k` rows match, `None`, -inf and an empty dictionary stand in the last columns.

        Raises:
            ValueError: for queries that are not finite or of another length, and another fingerprint.
        """
        integer("k", k, 1)
        _where.check(where)
        rows = self._embed(queries, fingerprint, "queries")
        segments, similarity, places = self._ranked(rows, k, where)
        return found_at(segments, similarity, places, k)

    def recall_of_engine(self, queries, k=10, fingerprint=None):
        """The share of the exact `k` nearest rows that `search` finds, over a sample of queries.

        It measures what the engine misses, and what a storage that is rescored misses. (What float16 rounds away is
        gone: both searches miss it.)

        Args:
            queries, fingerprint: As in `search`.
            k: Integer from 1, at most the number of rows.

        Returns:
            A float from 0 to 1.
        """
        integer("k", k, 1, max(1, len(self)))
        rows = self._embed(queries, fingerprint, "queries")
        segments, _, places = self._ranked(rows, k, None)
        view = _search.View(segments, self.dim, self.storage, _where.chosen(segments, None), is_exact=True)
        _, exact = _search.exact(rows, view, k)
        return float(np.mean([len(np.intersect1d(*pair)) for pair in zip(places, exact, strict=True)]) / k)

    def save(self, folder):
        """Write the gallery into a folder, and bind it to that: what is added or removed later is written at once.

        The folder holds `gallery.json`, arrays as `.npy` and items as JSON lines, nothing that is executed; and the
        index of faiss as far as a search has built it. What is added later is not in the file of the index, and is
        appended to it after loading.

        The folder changes as a whole: a process that is killed leaves the gallery that was there or the new one. One
        process may write at a time; another that has loaded the same folder is refused when it writes.

        Args:
            folder: Missing, empty, or a gallery's, which is replaced.

        Raises:
            ValueError: for a folder that holds something else, and a gallery without rows and `dim`.
        """
        folder = Path(folder).absolute()
        if self.dim is None:
            raise ValueError("`dim` must be known before `save`. Received: dim=None. Add rows first, or pass `dim`.")
        with self._lock:
            generation = self._generation if folder == self.folder else None
            index = self._index
            if folder == self.folder and index is not None and self._saved_index is not None:
                index = self._saved_index if self._saved_index["rows"] == len(index) else index
            self._segments, self._generation, self._saved_index = _folder.write(
                folder, self._settings(), self._segments, generation, self._known, index
            )
            self.folder = folder

    @classmethod
    def load(cls, folder, model=None, *, fingerprint=None, engine=None, verify=True):
        """The gallery that `save` wrote, bound to its folder. Its rows stay in their files and are read when used.

        Args:
            folder: Of the gallery.
            model: The model that it was made with, to search for its inputs. Another is refused.
            fingerprint: What the gallery's must be.
            engine: Another engine than the one it was saved with.
            verify: Whether to compare the SHA-256 of every file, which reads all of them. Their sizes are compared
                anyhow.

        Raises:
            ValueError, FileNotFoundError: for a file that is missing or damaged, which the message names, and for
                another model or fingerprint.
        """
        folder, known = Path(folder).absolute(), {}

        def engine_in(manifest):
            return engine_of(engine or (Faiss(**manifest["engine"]) if manifest["engine"] else "exact"))

        def index_of(manifest):
            entry, own = manifest.get("index"), engine_in(manifest)
            if entry is not None and own is not None and own.factory == entry["factory"]:
                return Index.read(folder, entry, own, manifest["dim"], verify)

        manifest, segments, index = _folder.read(folder, known, verify, index_of)
        gallery = cls(
            fingerprint=manifest["fingerprint"],
            dim=manifest["dim"],
            storage=manifest["storage"],
            engine=engine_in(manifest) or "exact",
            threshold=_threshold.of_json(manifest["threshold"]),
        )
        gallery._check_fingerprint(fingerprint)
        if model is not None:
            gallery._check_fingerprint(fingerprint_of(model), "model")
            gallery._model = model
        gallery._segments, gallery._known = segments, known
        gallery.folder, gallery._generation = folder, manifest["generation"]
        gallery._index, gallery._saved_index = index, manifest["index"] if index is not None else None
        return gallery

    def _settings(self):
        return {
            "dim": self.dim,
            "storage": self.storage,
            "engine": vars(self.engine) if self.engine else None,
            "fingerprint": self.fingerprint,
            "threshold": _threshold.to_json(self._threshold),
        }

    def _commit(self, segments, num_new=0):
        """Make these the segments of the gallery, in its folder first; `num_new` rows came with them."""
        with self._lock:
            index, saved = self._index, self._saved_index
            if num_new + sum(map(len, self._segments)) != sum(map(len, segments)):
                # Rows that were removed are gone, and others have taken their places.
                index = saved = None
            if self.folder is not None:
                segments, self._generation, saved = _folder.write(
                    self.folder, self._settings(), segments, self._generation, self._known, saved
                )
            self._segments, self._index, self._saved_index = segments, index, saved

    def _find(self, ids):
        """`{place in ids: (segment, row)}` of the ids that are in the gallery."""
        found, keys = {}, keys_of(ids)
        for number, segment in enumerate(self._segments):
            for place, row in segment.items.find(ids, keys):
                if segment.removed is None or not segment.removed[row]:
                    found[place] = number, row
        return found

    def _ranked(self, rows, k, where):
        """`(segments, similarity, places)` of the first `k` rows that match, or of all if they are fewer."""
        with self._lock:
            segments = self._segments
            index = self._extended_index() if where is None and self.engine is not None and segments else None
        chosen = _where.chosen(segments, where)
        view = _search.View(segments, self.dim, self.storage, chosen)
        k = min(k, len(view))
        if k == 0:
            found = np.empty((len(rows), 0)), np.empty((len(rows), 0), np.int64)
        elif index is not None:
            everything = _search.View(segments, self.dim, self.storage)
            is_removed = np.zeros(len(everything), bool)
            if chosen is not None:
                is_removed[:] = True
                is_removed[chosen] = False
            candidates = min(len(everything), -(-k * self.engine.candidates * len(everything) // len(view)))
            found = _search.by_index(rows, everything, k, index, is_removed, candidates)
        elif self.storage in _search.RESCORED:
            factor, more = _search.RESCORED[self.storage]
            found = _search.rescored(rows, view, k, factor * k + more)
        else:
            found = _search.exact(rows, view, k)
        return segments, *found

    def _extended_index(self):
        """The index of the engine over all rows, also those that were removed."""
        if self._index is None:
            self._index = Index(self.engine, self.dim)
        self._index.extend(_search.View(self._segments, self.dim, self.storage))
        return self._index
