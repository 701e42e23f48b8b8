"""faiss as the engine of a gallery: candidates from an index, which the gallery ranks by their exact similarity."""

import dataclasses
import threading

import numpy as np

from keras_epos._checks import integer
from keras_epos._rows import blocks
from keras_epos.gallery._files import check, damaged, written

# Rows that an index is trained on, at most.
_TRAINED = 2**17


@dataclasses.dataclass(frozen=True)
class Faiss:
    """Search by an index of faiss: `Gallery(engine=Faiss("HNSW32"))`. Needs `pip install keras-epos[faiss]`.

    The index names candidates and the gallery ranks them by their exact similarity, so what is found is right and what
    may be missed is measured by `Gallery.recall_of_engine`. The index is built at the first search, in memory, beside
    the rows that the gallery keeps; rows that are added later are appended to it. `Gallery.save` writes what is built
    into the folder, and a loaded gallery goes on from there.

    Args:
        factory: What `faiss.index_factory` takes: `"HNSW32"`, `"IVF1024,Flat"`, `"IVF1024,PQ64"`, `"IVF1024,RaBitQ"`.
            `IVF1024` needs 1,024 rows at the first search, and 40 times as many to be good.
        settings: What `faiss.ParameterSpace` takes for a search: `"efSearch=128"`, `"nprobe=32"`.
        candidates: Candidates for each neighbor asked for. More for indexes that compress.
    """

    factory: str = "HNSW32"
    settings: str = ""
    candidates: int = 4

    def __post_init__(self):
        if not isinstance(self.factory, str) or not self.factory:
            raise ValueError(
                f"`factory` must be a string that faiss.index_factory takes. Received: factory={self.factory!r}."
            )
        integer("candidates", self.candidates, 1)


def imported():
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "`engine` needs faiss, which is not installed: `pip install keras-epos[faiss]`, or search exactly by "
            'engine="exact".'
        ) from error
    return faiss


class Index:
    """An index over the rows of a gallery, by their places.

    Args:
        made: An index of faiss that `engine.factory` has made, or `None` for a new one.
    """

    def __init__(self, engine, dim, made=None):
        faiss = imported()
        self._engine, self._lock = engine, threading.Lock()
        try:
            self._index = made or faiss.index_factory(dim, engine.factory, faiss.METRIC_INNER_PRODUCT)
            if engine.settings:
                faiss.ParameterSpace().set_index_parameters(self._index, engine.settings)
        except RuntimeError as error:
            raise ValueError(
                "`engine` must be an index that faiss knows for inner products and its settings. Received: "
                f"engine={engine!r} for {dim} dimensions. faiss says: {error}"
            ) from error

    def __len__(self):
        return self._index.ntotal

    def write(self, folder, name):
        """Write the index into a file whose name begins with `name`; return what `read` takes."""
        faiss, target = imported(), f"{name}.index.faiss"
        with self._lock, written(folder / target) as file:
            faiss.write_index(self._index, faiss.PyCallbackIOWriter(file.write))
            return {"factory": self._engine.factory, "rows": len(self), "file": file.entry(target)}

    @classmethod
    def read(cls, folder, entry, engine, dim, verify):
        """The index that `write` wrote, with the settings of `engine`."""
        path = check(folder, entry["file"], verify)
        try:
            made = imported().read_index(str(path))
        except RuntimeError as error:
            raise damaged(path, f"faiss cannot read it ({error})") from error
        return cls(engine, dim, made)

    def extend(self, view):
        """Add the rows of the view that came after the last that is in the index."""
        with self._lock:
            if not self._index.is_trained:
                self._train(view)
            for places in blocks(np.arange(self._index.ntotal, len(view)), 2**13):
                self._index.add(view.unit(places).astype(np.float32))

    def _train(self, view):
        places = np.unique(np.linspace(0, len(view) - 1, min(len(view), _TRAINED)).astype(np.int64))
        rows = np.empty((len(places), view.dim), np.float32)
        for part in blocks(np.arange(len(places)), 2**13):
            rows[part] = view.unit(places[part])
        try:
            self._index.train(rows)
        except RuntimeError as error:
            raise ValueError(
                f"`engine` must be an index that {len(view)} rows can train. Received: engine={self._engine!r}. Add "
                f"more rows before the first search, or choose a smaller index. faiss says: {error}"
            ) from error

    def candidates(self, queries, count):
        """Places `(Q, count)` of float32 unit queries; -1 where the index names fewer."""
        with self._lock:
            return self._index.search(queries, count)[1]


def engine_of(engine):
    """The `Faiss` that is meant, or `None` for the exact search."""
    if engine == "exact":
        return None
    if engine == "faiss":
        engine = Faiss()
    if not isinstance(engine, Faiss):
        raise ValueError(
            f'`engine` must be "exact", "faiss" or a keras_epos.gallery.Faiss. Received: engine={engine!r}.'
        )
    imported()
    return engine
