"""A gallery in a LanceDB table: on a disk or an object store, larger than memory, with versions."""

import datetime
import json
import time

import numpy as np

from keras_epos._checks import integer
from keras_epos._rows import blocks
from keras_epos.gallery import _threshold, _where
from keras_epos.gallery._answers import Answers
from keras_epos.gallery._items import Items, checked_ids, checked_labels, checked_payload, objects
from keras_epos.gallery._lance_rows import batches, reader_of
from keras_epos.gallery._lance_shards import batches_of, not_in_table, together
from keras_epos.gallery._lance_text import among, column, compared
from keras_epos.gallery._results import Found
from keras_epos.gallery._search import in_order

# Rows written and queries searched at once.
_ROWS, _QUERIES = 8192, 64
# Rows of shards that become one version of the table, or some more.
_SHARDS = 2**20
# Candidates beside those that are asked for.
_MORE = 16
# The field of the table whose metadata hold what the gallery is bound to, and the key.
_FIELD, _KEY = "vector", "keras_epos"


class LanceGallery(Answers):
    """A gallery whose rows stay in a table of LanceDB. Needs `pip install keras-epos[lancedb]`.

    What is asked, answered and refused is as in `keras_epos.Gallery`. Nothing is held in memory; the table may lie on a
    disk or an object store, and each change makes a version of it. Without an index the search is exact: the ranking is
    that of a float64 brute force over the unit rows in float32 that the table holds. `build_index` makes it
    approximate, and says how much it finds.

    It is a class of its own and not an engine of `Gallery`, since that holds its rows itself.

    Args:
        uri: Folder, or address of an object store, that LanceDB connects to.
        model: As in `keras_epos.Gallery`.
        fingerprint: As in `keras_epos.Gallery`. A table that is there must have been made with it.
        table: Name of the table. It is made by the first `add`.
        version: Version of the table to look at, which then cannot be changed; by default the newest.
        nprobes: Cells of an index that a query looks into; by default what LanceDB takes, 20.
        candidates: Rows for each neighbor asked for that are ranked by their exact similarity, for what an index gives
            first is rounded. More of both find more, and take longer.

    Attributes:
        nprobes, candidates: May be set at any time; they are not kept with the table.
        version: Of the table, an integer that rises; `None` before the first `add`.
        threshold: As in `keras_epos.Gallery`; kept with the table.

    Raises:
        ImportError: without LanceDB.
        ValueError: for another model or fingerprint than the table's, a table of something else, or a version that it
            does not have.

    Examples:
        >>> gallery = keras_epos.gallery.LanceGallery("things.lance")  # doctest: +SKIP
        >>> gallery.add(np.eye(3), ["a", "b", "c"], payload=[{"shop": 1}, {"shop": 2}, {"shop": 2}])  # doctest: +SKIP
        >>> gallery.search(np.ones((1, 3)), k=2, where={"shop": 2}).ids.tolist()  # doctest: +SKIP
        [['b', 'c']]
    """

    def __init__(
        self,
        uri,
        model=None,
        *,
        fingerprint=None,
        table="gallery",
        threshold=None,
        version=None,
        nprobes=None,
        candidates=2,
    ):
        super().__init__(model, fingerprint, None)
        # What others write is seen at once.
        self._database = _imported().connect(str(uri), read_consistency_interval=datetime.timedelta(0))
        self._name, self._is_old = table, version is not None
        self._threshold = _threshold.checked(threshold)
        self.nprobes = None if nprobes is None else integer("nprobes", nprobes, 1)
        self.candidates = integer("candidates", candidates, 1)
        self._table, self._last = None, 0
        if table in _names_of(self._database):
            self._open(version)
            if threshold is not None:
                self.threshold = threshold
        elif version is not None:
            raise ValueError(
                f"`version` must be one that the table has. Received: version={version}, and {uri} has no "
                f"table {table!r} yet."
            )

    def __len__(self):
        return 0 if self._table is None else self._table.count_rows()

    def __repr__(self):
        return f"<LanceGallery of {len(self)} rows, dim={self.dim}, version={self.version}>"

    @property
    def version(self):
        return None if self._table is None else self._table.version

    @property
    def threshold(self):
        return self._threshold

    @threshold.setter
    def threshold(self, threshold):
        threshold = _threshold.checked(threshold)
        self._check_newest()
        if self._table is not None:
            about = self._about(threshold)
            self._table.update_field_metadata({"path": _FIELD, "metadata": {_KEY: about}})
        self._threshold = threshold

    def add(self, inputs, ids, labels=None, payload=None, *, replace=False, fingerprint=None):
        """Append rows to the table: all of them or none, as one new version.

        Args:
            inputs, ids, labels, payload, fingerprint: As in `keras_epos.Gallery.add`.
            replace: Whether rows of the same ids are replaced. They are refused otherwise. LanceDB does not keep two
                processes from adding the same id at the same time.

        Raises:
            ValueError: as in `keras_epos.Gallery.add`. Nothing is added then.
        """
        self._check_newest()
        rows = self._embed(inputs, fingerprint, "inputs")
        ids = checked_ids(ids, len(rows))
        labels = checked_labels(labels, len(rows), {})
        payload = checked_payload(payload, len(rows)) or [{} for _ in ids]
        texts = [json.dumps(Items.id_of(one)) for one in ids]
        if not texts:
            return
        present = self._present(texts)
        if present and not replace:
            raise ValueError(
                f"`ids` must not be in the gallery yet. Received: {json.loads(min(present))!r}, which is. Pass "
                "`replace=True` to replace what is there."
            )
        self._prepare(rows.dim, sorted({name for one in payload for name in one}))
        # Times, since nobody counts the rows of several writers; each is later than the one before.
        first = max(time.time_ns(), self._last + 1)
        self._last = first + len(rows) - 1
        reader = reader_of(self._table.schema, batches(self._table.schema, rows, texts, labels, payload, first))
        if present:
            change = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            change.execute(reader)
        else:
            self._table.add(reader)

    def add_shards(self, shards):
        """Append the rows of shards, but for those without an embedding, a million at a time, each time a new version.

        Shards that are in the table are passed over, so that a call that was stopped goes on where it was. Ids must
        differ, which is looked up by 8 bytes for each row of the table and of the shards.

        Args:
            shards: `keras_epos.scale.Shards`, made by the model of the gallery. A new gallery that has neither model
                nor fingerprint takes that of the shards.

        Returns:
            How many rows were added.

        Raises:
            ValueError: for shards of another model or length, ids that come twice, and a shard of which a part is in
                the table. Nothing is added then.
        """
        self._check_newest()
        is_free = self._table is None and self.fingerprint is None
        if not is_free:
            self._check_fingerprint(shards.fingerprint, "shards.fingerprint")
        if self.dim not in (None, shards.dim):
            raise ValueError(
                f"`shards` must have the {self.dim} dimensions of the gallery. Received: shards of {shards.dim} "
                "dimensions."
            )
        added, waiting = 0, not_in_table(shards.files, self._all_ids(), self._present)
        if waiting:
            self.fingerprint = shards.fingerprint
            self._prepare(shards.dim, [])
        for some, number in together(waiting, _SHARDS):
            first = max(time.time_ns(), self._last + 1)
            self._last = first + number - 1
            schema = self._table.schema
            self._table.add(reader_of(schema, batches_of(some, schema, first)))
            added += number
        return added

    def remove(self, ids):
        """Remove rows, as one new version.

        Raises:
            ValueError: for ids that are not in the gallery. Nothing is removed then.
        """
        self._check_newest()
        texts = [json.dumps(Items.id_of(one)) for one in checked_ids(ids)]
        absent = set(texts) - self._present(texts)
        if absent:
            raise ValueError(
                f"`ids` must be in the gallery. Received: {json.loads(min(absent))!r}, which is not, and "
                f"{len(absent) - 1} others."
            )
        if texts:
            self._table.delete(among("id", texts))

    def search(self, queries, k=10, where=None, fingerprint=None):
        """The `k` most similar rows of each query, as `keras_epos.Gallery.search` returns them.

        Args:
            queries, k, fingerprint: As in `keras_epos.Gallery.search`.
            where: A dictionary, as in `keras_epos.Gallery.search`. LanceDB looks only at the rows that match. A
                function cannot be handed to it, and is refused.
        """
        integer("k", k, 1)
        rows = self._embed(queries, fingerprint, "queries")
        return self._found(rows, k, self._condition(where), is_exact=False)

    def build_index(self, kind="IVF_PQ", k=10, num_queries=200, **settings):
        """Build an index of LanceDB, which makes the search quicker and approximate.

        Rows that are added later are searched one by one until it is built again.

        Args:
            kind: What `create_index` of LanceDB takes as `index_type`: `"IVF_PQ"`, `"IVF_HNSW_SQ"`, `"IVF_FLAT"`, ...
            k: Neighbors of the recall that is returned.
            num_queries: Rows of the table that it is measured by, each of which is compared with all. With 0 it is not
                measured, and `None` is returned.
            settings: What else `create_index` takes, such as `num_partitions=256` and `num_sub_vectors=16`.

        Returns:
            A float from 0 to 1: `recall_of_engine` of rows of the table.
        """
        integer("num_queries", num_queries, 0)
        if self._table is None:
            raise ValueError("The gallery must have rows for an index. Received: none yet; `add` them first.")
        # Of unit rows the nearest by distance are those by product, and an index fits distances better.
        self._table.create_index(metric="l2", vector_column_name=_FIELD, index_type=kind, **settings)
        if not num_queries:
            return None
        sample = self._table.search().select([_FIELD]).limit(num_queries).to_arrow()
        queries = _matrix(sample["vector"], self.dim)
        return self.recall_of_engine(queries, min(k, len(self)), self.fingerprint)

    def recall_of_engine(self, queries, k=10, fingerprint=None):
        """The share of the exact `k` nearest rows that `search` finds: 1 without an index."""
        integer("k", k, 1, max(1, len(self)))
        rows = self._embed(queries, fingerprint, "queries")
        found, exact = (self._found(rows, k, None, is_exact).ids for is_exact in (False, True))
        return float(np.mean([len(set(own) & set(true)) for own, true in zip(found, exact, strict=True)]) / k)

    def _open(self, version):
        self._table = self._database.open_table(self._name)
        if version is not None:
            try:
                self._table.checkout(version)
                self._table.count_rows()
            except Exception as error:
                raise ValueError(
                    f"`version` must be one that the table has. Received: version={version!r}. LanceDB says: {error}"
                ) from error
        schema = self._table.schema
        stored = (schema.field(_FIELD).metadata or {}).get(_KEY.encode()) if _FIELD in schema.names else None
        if stored is None:
            raise ValueError(
                f"`table` must be a gallery's. Received: table={self._name!r}, which holds {schema.names}."
            )
        about = json.loads(stored)
        given, self.fingerprint = self.fingerprint, about["fingerprint"]
        self._check_fingerprint(given, "fingerprint" if self._model is None else "model")
        self.dim, self._threshold = schema.field(_FIELD).type.list_size, _threshold.of_json(about["threshold"])

    def _check_newest(self):
        if self._is_old:
            raise ValueError(
                f"The newest version of the table must be open to change it. Received: version={self.version}. Open "
                "the gallery without `version`."
            )

    def _prepare(self, dim, names):
        """Make the table, or the columns that the payload needs."""
        import pyarrow as pa

        if self._table is None:
            vector = pa.field(_FIELD, pa.list_(pa.float32(), dim), metadata={_KEY: self._about(self._threshold)})
            columns = [("id", pa.string()), ("order", pa.int64()), ("label", pa.string()), ("payload", pa.string())]
            columns += [(column(name), pa.string()) for name in names]
            self._table = self._database.create_table(self._name, schema=pa.schema([*columns, vector]))
            self.dim = dim
        new = [column(name) for name in names if column(name) not in self._table.schema.names]
        if new:
            self._table.add_columns([pa.field(name, pa.string()) for name in new])

    def _about(self, threshold):
        return json.dumps({"fingerprint": self.fingerprint, "threshold": _threshold.to_json(threshold)})

    def _present(self, texts):
        """Those of the ids that are in the table."""
        present = set()
        for start in range(0, len(texts) if self._table is not None else 0, _ROWS):
            query = self._table.search().where(among("id", texts[start : start + _ROWS])).select(["id"]).limit(_ROWS)
            present.update(query.to_arrow()["id"].to_pylist())
        return present

    def _all_ids(self):
        """Yields the ids of the table, some at a time, as JSON."""
        if self._table is not None:
            for batch in self._table.search().select(["id"]).to_batches(8 * _ROWS):
                yield batch["id"].to_pylist()

    def _metric(self):
        """What the index compares by, or `None` without one."""
        own = [one for one in self._table.list_indices() if one.columns == [_FIELD]]
        return self._table.index_stats(own[0].name).distance_type if own else None

    def _condition(self, where):
        """SQL of what `where` asks for."""
        _where.check(where)
        if callable(where):
            raise ValueError(
                "`where` must be a dictionary for a LanceGallery. Received: a function, which LanceDB cannot call."
            )
        parts = []
        for name, wanted in (where or {}).items():
            values = list(wanted) if isinstance(wanted, (list, tuple, set, frozenset)) else [wanted]
            texts = sorted({compared(value) for value in values})
            if self._table is None or column(name) not in self._table.schema.names:
                parts.append("true" if "null" in texts else "false")
                continue
            some = [among(f"`{column(name)}`", texts)] if texts else ["false"]
            parts.append(" OR ".join(some + [f"`{column(name)}` IS NULL"] * ("null" in texts)))
        return " AND ".join(f"({part})" for part in parts) or None

    def _found(self, rows, k, condition, is_exact):
        shape = len(rows), k
        ids, labels, payload = (np.full(shape, None) for _ in range(3))
        similarity = np.full(shape, -np.inf, np.float32)
        payload.reshape(-1)[:] = [{} for _ in range(payload.size)]
        count = self._table.count_rows(condition) if self._table is not None else 0
        for part in blocks(np.arange(len(rows) if count else 0), _QUERIES):
            for row, (values, table, order) in self._ranked(rows.unit(part), part, k, condition, count, is_exact):
                similarity[row, : len(order)] = values
                ids[row, : len(order)] = objects([json.loads(table["id"][int(one)].as_py()) for one in order])
                labels[row, : len(order)] = objects([json.loads(table["label"][int(one)].as_py()) for one in order])
                payload[row, : len(order)] = objects([json.loads(table["payload"][int(one)].as_py()) for one in order])
        return Found(ids, labels, similarity, payload)

    def _ranked(self, units, places, k, condition, count, is_exact):
        """Yields `(query, (similarity, table, rows))`: the first `k` of the candidates of each query."""
        metric = None if is_exact else self._metric()
        candidates = self.candidates * k + _MORE
        # What float32 sums of a product of unit rows may be off.
        error = 2 * (self.dim + 8) * np.finfo(np.float32).eps
        waiting = np.arange(len(units))
        while len(waiting):
            table = self._candidates(units[waiting], candidates, condition, metric)
            of_query = table["query_index"].to_numpy()
            unsure = []
            for number, query in enumerate(waiting):
                part = table.take(np.flatnonzero(of_query == number))
                rows = _matrix(part["vector"], self.dim).astype(np.float64)
                norms = np.linalg.norm(rows, axis=1)
                exact = rows @ units[query] / np.where(norms > 0, norms, 1)
                order = np.lexsort((part["order"].to_numpy(), -exact))
                values, times, _ = in_order(exact[order][None], part["order"].to_numpy()[order][None])
                where = {time: row for row, time in enumerate(part["order"].to_pylist())}
                rows = [where[time] for time in times[0][:k].tolist()]
                # The last candidate by LanceDB's own numbers: what comes after it is no nearer than this.
                bound = 1 - part["_distance"].to_numpy().max() + error if len(part) else -np.inf
                if metric is None and len(part) == candidates < count and values[0][min(k, len(part)) - 1] <= bound:
                    unsure.append(query)
                else:
                    yield places[query], (values[0][:k], part, rows)
            waiting, candidates = np.array(unsure, np.int64), 8 * candidates

    def _candidates(self, units, count, condition, metric):
        import pyarrow as pa

        # Two queries at least: a single one would come back in another form.
        queries = np.concatenate([units, units[:1]]).astype(np.float32)
        query = self._table.search(queries, vector_column_name="vector").distance_type(metric or "dot").limit(count)
        if condition:
            query = query.where(condition, prefilter=True)
        if metric is None:
            query = query.bypass_vector_index()
        elif self.nprobes is not None:
            query = query.nprobes(self.nprobes)
        found = query.select(["id", "order", "label", "payload", "vector", "_distance"]).to_arrow()
        return found.filter(pa.compute.less(found["query_index"], len(units)))


def _matrix(vectors, dim):
    return vectors.combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)


def _names_of(database):
    names, token = [], None
    while True:
        page = database.list_tables(page_token=token)
        names += page.tables
        token = page.page_token
        if not token:
            return names


def _imported():
    try:
        import lancedb
    except ImportError as error:
        raise ImportError("`LanceGallery` needs LanceDB: `pip install keras-epos[lancedb]`.") from error
    return lancedb
