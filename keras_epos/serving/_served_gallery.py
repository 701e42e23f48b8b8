"""A gallery inside a SavedModel: its rows in variables, its search in ops that TensorFlow alone can run."""

import numpy as np

from keras_epos._checks import integer, one_of
from keras_epos._rows import blocks
from keras_epos.gallery import Gallery, _threshold
from keras_epos.gallery._fingerprint import fingerprint_of
from keras_epos.gallery._items import Items
from keras_epos.gallery._storage import AT_ONCE, STORAGES, norms_of
from keras_epos.retrieval import TIE
from keras_epos.serving._compare import INT8_TOLERANCE

# Queries, and references at most, that are compared at once; numbers of references in float64 at once: 16 MB.
QUERIES, REFERENCES, NUMBERS = 256, 8192, 2**21
# Candidates beyond those asked for, so that ties at the border seldom need the whole gallery.
SPARE = 8


class ServedGallery:
    """The rows, ids and labels of a `Gallery` as TensorFlow variables, and `search` and `match` as it answers.

    Similarities are float64, so no device rounds them (float32 products on GPUs keep 11 bits), and the ranking is that
    of `Gallery.search`, ties in the order of addition. No temporary tensor grows with the gallery, but for queries
    whose ties go on beyond the candidates: those take 8 bytes a row, one after the other.

    Args:
        gallery: A `Gallery` with rows.
        threshold: As `Gallery.threshold`; that of the gallery by default.
        storage: `"float32"`, `"float16"` or `"int8"`; by default what the gallery ranks by.
        most: The largest `k`.
    """

    def __init__(self, gallery, threshold=None, storage=None, most=100):
        import tensorflow as tf

        if storage is None:
            storage = "float16" if gallery.storage == "float16" else "float32"
        kind = STORAGES[one_of("gallery_storage", storage, ("float32", "float16", "int8"))]
        self.storage, self.dim, self.most = storage, gallery.dim, integer("max_k", most, 1)
        with gallery._lock:
            segments, threshold = gallery._segments, gallery.threshold if threshold is None else threshold
        threshold = _threshold.checked(threshold)
        kept = [segment.kept() for segment in segments]
        self.num_rows = sum(map(len, kept))
        if not self.num_rows:
            raise ValueError("`gallery` must have rows to be exported. Received: an empty gallery.")
        ids = [
            Items.id_of(one) for segment, rows in zip(segments, kept, strict=True) for one in segment.items.ids[rows]
        ]
        labels = [one for segment, rows in zip(segments, kept, strict=True) for one in segment.items.labels[rows]]
        names = list(dict.fromkeys(labels))
        numbers = {name: number for number, name in enumerate(names)}
        with tf.device("CPU:0"):
            self.ids = tf.Variable(_texts("ids", ids), trainable=False)
            self.names = tf.Variable(_texts("labels", names), trainable=False)
            self.codes = tf.Variable(np.array([numbers[one] for one in labels], np.int32), trainable=False)
            self.norms = tf.Variable(tf.zeros(self.num_rows, tf.float64), trainable=False)
            self.rows = tf.Variable(tf.zeros((self.num_rows, self.dim), kind.dtype), trainable=False)
            self.limits = None
            if threshold is not None:
                self.limits = tf.Variable(np.array(_threshold.limits(threshold, names), np.float64), trainable=False)
        start, step = 0, max(1, AT_ONCE // (4 * self.dim))
        for segment, rows in zip(segments, kept, strict=True):
            for part in blocks(rows, step):
                values, place = kind.encode(segment.exact(part, self.dim)), slice(start, start + len(part))
                self.rows[place].assign(values)
                self.norms[place].assign(norms_of(kind.decode(values, self.dim)))
                start += len(part)

    def check_dim(self, embeddings):
        """Raises `ValueError` where the model's embeddings have another length."""
        if embeddings.shape[1] != self.dim:
            raise ValueError(
                f"`gallery` must have the {embeddings.shape[1]} dimensions of the model. Received: a gallery of "
                f"{self.dim} dimensions."
            )

    def search(self, embedding, k):
        """The nearest rows of each query.

        Args:
            embedding: float32 `(n, dim)`.
            k: int32 from 1 to `most`: a scalar, `(1,)`, or `(n,)` with one for each query.

        Returns:
            `{"ids", "labels", "similarities"}`, each `(n, largest k)`, and `"valid"` `(n,)`. Queries that are not
            finite are not valid and have `""` and NaN; columns beyond the gallery, or a query's own `k`, have `""` and
            -inf.
        """
        import tensorflow as tf

        similarity, places, is_found, valid = self._ranked(embedding, k)
        otherwise = tf.where(valid, tf.constant(-np.inf, tf.float64), np.nan)[:, tf.newaxis]
        return {
            "ids": tf.where(is_found, tf.gather(self.ids, places), ""),
            "labels": tf.where(is_found, self._labels(places), ""),
            "similarities": tf.cast(tf.where(is_found, similarity, otherwise), tf.float32),
            "valid": valid,
        }

    def match(self, embedding):
        """The label of each query's nearest row where the threshold accepts it, else `"unknown"`.

        Args:
            embedding: As in `search`.

        Returns:
            `{"label", "id", "similarity", "accepted", "valid"}`, each `(n,)`. Queries that are not valid have `""`,
            NaN and False.
        """
        import tensorflow as tf

        similarity, places, _, valid = self._ranked(embedding, 1)
        similarity, places = tf.cast(similarity[:, 0], tf.float32), places[:, 0]
        limit = tf.gather(self.limits, tf.gather(self.codes, places))
        accepted = valid & (tf.cast(similarity, tf.float64) >= limit)
        return {
            "label": tf.where(valid, tf.where(accepted, self._labels(places), "unknown"), ""),
            "id": tf.where(valid, tf.gather(self.ids, places), ""),
            "similarity": tf.where(valid, similarity, np.nan),
            "accepted": accepted,
            "valid": valid,
        }

    def _labels(self, places):
        import tensorflow as tf

        return tf.gather(self.names, tf.gather(self.codes, places))

    def _ranked(self, embedding, k):
        """`(similarity, places, which of them are any, valid)`, all of a width that is the largest `k`."""
        import tensorflow as tf

        embedding = tf.ensure_shape(embedding, (None, self.dim))
        valid = tf.reduce_all(tf.math.is_finite(embedding), axis=1)
        k = tf.broadcast_to(tf.reshape(k, [-1]), tf.shape(embedding)[:1])
        require = tf.raw_ops.Assert(
            condition=tf.reduce_all((k >= 1) & (k <= self.most)),
            data=[f"`k` must be from 1 to {self.most}, the max_k of this export. Received: k =", k],
        )
        with tf.control_dependencies([require]):
            # Without queries there is no largest.
            most = tf.reduce_max(tf.concat([[1], k], axis=0))
        similarity, places = self._nearest(tf.where(valid[:, tf.newaxis], embedding, 0), valid, most)
        missing = [[0, 0], [0, most - tf.shape(places)[1]]]
        is_found = valid[:, tf.newaxis] & (tf.range(tf.shape(places)[1]) < k[:, tf.newaxis])
        return *(tf.pad(part, missing) for part in (similarity, places, is_found)), valid

    def _nearest(self, embedding, valid, k):
        """`(similarity, places)` of the first rows, float64 and int32 `(n, min(k, rows))`, some queries at a time."""
        import tensorflow as tf

        count, k = tf.shape(embedding)[0], tf.minimum(k, self.num_rows)

        def step(start, similarity, places):
            stop = tf.minimum(start + QUERIES, count)
            unit = tf.cast(embedding[start:stop], tf.float64)
            norm = tf.norm(unit, axis=1, keepdims=True)
            unit /= tf.where(norm > 0, norm, np.inf)
            some = self._first(unit, valid[start:stop], k)
            return stop, *(tf.concat(pair, axis=0) for pair in zip((similarity, places), some, strict=True))

        nothing = 0, tf.zeros((0, k), tf.float64), tf.zeros((0, k), tf.int32)
        return _loop(lambda start, *_: start < count, step, nothing)[1:]

    def _first(self, unit, valid, k):
        """The first `k` rows of each of these queries: of some candidates, or of all rows where ties go on."""
        import tensorflow as tf

        width = tf.minimum(k + SPARE, self.num_rows)
        similarity, places, ties = _in_order(*self._candidates(unit, width))
        is_open = valid & (width < self.num_rows) & tf.equal(ties[:, k - 1], ties[:, -1])
        again = tf.cast(tf.where(is_open)[:, 0], tf.int32)

        def step(number, similarity, places):
            query = again[number]
            found = self._similarities(unit[query : query + 1])
            found = _in_order(found, tf.range(self.num_rows)[tf.newaxis])[:2]
            pairs = zip((similarity, places), found, strict=True)
            return number + 1, *(tf.tensor_scatter_nd_update(old, [[query]], new[:, :k]) for old, new in pairs)

        first = 0, similarity[:, :k], places[:, :k]
        return _loop(lambda number, *_: number < tf.size(again), step, first)[1:]

    def _candidates(self, unit, width):
        """The `width` most similar rows, falling."""
        import tensorflow as tf

        def step(start, similarity, places):
            found, stop = self._block(unit, start)
            found, index = tf.math.top_k(found, tf.minimum(width, stop - start))
            similarity, order = tf.math.top_k(tf.concat([similarity, found], axis=1), width)
            return stop, similarity, tf.gather(tf.concat([places, start + index], axis=1), order, batch_dims=1)

        shape = [tf.shape(unit)[0], width]
        nothing = 0, tf.fill(shape, tf.constant(-np.inf, tf.float64)), tf.zeros(shape, tf.int32)
        return _loop(lambda start, *_: start < self.num_rows, step, nothing)[1:]

    def _similarities(self, unit):
        """To all rows, in their order."""
        import tensorflow as tf

        def step(start, similarity):
            found, stop = self._block(unit, start)
            return stop, tf.concat([similarity, found], axis=1)

        nothing = 0, tf.zeros((tf.shape(unit)[0], 0), tf.float64)
        return _loop(lambda start, _: start < self.num_rows, step, nothing)[1]

    def _block(self, unit, start):
        """Similarities to the rows from `start` on, and where they end."""
        import tensorflow as tf

        stop = tf.minimum(start + max(1, min(REFERENCES, NUMBERS // self.dim)), self.num_rows)
        product = tf.matmul(unit, tf.cast(self.rows[start:stop], tf.float64), transpose_b=True)
        return product / self.norms[start:stop], stop


def checked(gallery, model, fingerprint):
    """The gallery, if it is one and was made by this model.

    Raises:
        ValueError: if not.
    """
    if not isinstance(gallery, Gallery):
        raise ValueError(
            f"`gallery` must be a keras_epos.Gallery. Received: gallery of type {type(gallery).__name__}. That of a "
            "folder is keras_epos.Gallery.load(folder)."
        )
    if fingerprint is not None:
        gallery._check_fingerprint(fingerprint)
    elif gallery.fingerprint is not None:
        gallery._check_fingerprint(fingerprint_of(model), "model")
    return gallery


def verify_gallery(path, served, gallery):
    """Compares the answers of an export with those of its gallery, for some rows of it and some noise.

    Raises:
        ValueError: where they differ.
    """
    import tensorflow as tf

    some = served.rows[: min(4, served.num_rows)]
    queries = np.concatenate([np.asarray(tf.cast(some, tf.float32)), np.eye(2, served.dim, dtype=np.float32)])
    k = min(5, served.most, served.num_rows)
    expected = gallery.search(queries, k, fingerprint=gallery.fingerprint)
    loaded = tf.saved_model.load(str(path))
    found = loaded.signatures["search"](embedding=tf.constant(queries), k=tf.constant(k))
    difference = np.abs(found["similarities"].numpy() - expected.similarity).max()
    # An engine that is not exact may miss rows, and so may candidates by fewer bits.
    is_exact = gallery.engine is None and gallery.storage == served.storage and served.storage != "int8"
    ids = np.array(_texts("ids", expected.ids.reshape(-1).tolist(), False)).reshape(expected.ids.shape)
    is_same = np.array_equal(found["ids"].numpy().astype(str), ids) or not is_exact
    # Written so that NaN fails as well.
    if not (difference <= (1e-6 if is_exact else INT8_TOLERANCE) and is_same):
        raise ValueError(
            f"`gallery` must give the same answers after export. Received: similarities that differ by {difference:.2g}"
            f"{'' if is_same else ', and other ids'}."
        )


def _texts(name, values, are_unique=True):
    """Integers and strings as strings; `None` is an empty one."""
    texts = ["" if one is None else str(one) for one in values]
    if are_unique and len(set(texts)) < len(texts):
        seen = {}
        first, second = next(
            (seen[text], one) for text, one in zip(texts, values, strict=True) if seen.setdefault(text, one) != one
        )
        raise ValueError(
            f"`gallery` must have {name} that differ as strings, for those are served. Received: {first!r} and "
            f"{second!r}."
        )
    return texts


def _in_order(similarity, places):
    """Falling similarities with ties in the order of their places, and the number of each row's tie."""
    import tensorflow as tf

    order = tf.argsort(similarity, axis=1, direction="DESCENDING", stable=True)
    similarity, places = (tf.gather(part, order, batch_dims=1) for part in (similarity, places))
    falls = similarity[:, :-1] > similarity[:, 1:] + TIE
    ties = tf.pad(tf.cumsum(tf.cast(falls, tf.int64), axis=1), [[0, 0], [1, 0]])
    order = tf.argsort(ties * 2**31 + tf.cast(places, tf.int64), axis=1)
    return *(tf.gather(part, order, batch_dims=1) for part in (similarity, places)), ties


def _loop(condition, step, first):
    """One step at a time, whose tensors may grow."""
    import tensorflow as tf

    first = [tf.convert_to_tensor(one) for one in first]
    shapes = [tf.TensorShape([None] * one.shape.rank) for one in first]
    return tf.while_loop(condition, step, first, shapes, parallel_iterations=1)
