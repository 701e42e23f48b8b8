"""A job of parts: planned the same each time, gone on with, refused for another; and by Ray with a worker that dies."""

import json
import os
import signal
import sys

import numpy as np
import pytest
from scale_cases import Bytes, without_ray

from keras_epos.gallery import _shards
from keras_epos.scale import Shards, embed

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")

CONTENTS = [bytes([number, number + 1, 7]) for number in range(23)]


def table(ids=None, **columns):
    ids = list(range(100, 123)) if ids is None else ids
    return pa.table({**({"id": ids} if ids else {}), **columns})


@pytest.fixture
def files(tmp_path):
    """Images as files, in folders."""
    paths = []
    for number, contents in enumerate(CONTENTS):
        path = tmp_path / "photos" / f"class {number % 2}" / f"{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents)
        paths.append(str(path))
    return sorted(paths)


def check(shards, ids, contents=CONTENTS):
    """All ids in order, each with its own embedding."""
    found = [(one, row) for own, rows, _ in shards for one, row in zip(own.tolist(), rows.tolist(), strict=True)]
    assert [one for one, _ in found] == list(ids)
    assert [row for _, row in found] == [list(map(float, one)) for one in contents]


def test_paths_in_any_form_are_ids(tmp_path, files, monkeypatch):
    without_ray(monkeypatch)
    # Some editors put a mark before the first path.
    (tmp_path / "list.txt").write_text("\n".join([*files, "", ""]), "utf-8-sig")
    monkeypatch.chdir(tmp_path)
    relative = [os.path.relpath(path, tmp_path) for path in files]
    ordered = [CONTENTS[int(path[-6:-4])] for path in files]
    for number, (source, ids) in enumerate(
        [(tmp_path / "photos", files), (tmp_path / "list.txt", files), (files, files), (relative, relative)]
    ):
        shards = embed(source, Bytes(), tmp_path / f"out {number}", part=5)
        check(shards, ids, ordered)
        assert len(shards) == 23
        assert [len(rows) for _, rows, _ in shards] == [5, 5, 5, 5, 3]
        assert shards.dim == 3


def test_parquet_files_keep_ids_and_labels(tmp_path, monkeypatch):
    without_ray(monkeypatch)
    (tmp_path / "source").mkdir()
    whole = table(bytes=CONTENTS, label=[f"l{number % 3}" for number in range(23)], other=[1.5] * 23)
    # Row groups that neither begin nor end where parts do.
    parquet.write_table(whole.slice(0, 11), tmp_path / "source" / "a.parquet", row_group_size=4)
    parquet.write_table(whole.slice(11), tmp_path / "source" / "b.parquet", row_group_size=3)
    shards = embed(tmp_path / "source", Bytes(), tmp_path / "out", part=5)
    check(shards, range(100, 123))
    assert [len(rows) for _, rows, _ in shards] == [5, 5, 1, 5, 5, 2]
    assert [label for _, _, labels in shards for label in labels] == whole["label"].to_pylist()
    assert parquet.read_schema(shards.files[0]).names == ["id", "label", "error", "embedding"]
    parquet.write_table(table(ids=[f"i{n}" for n in range(23)], bytes=CONTENTS), tmp_path / "one.parquet")
    check(embed(tmp_path / "one.parquet", Bytes(), tmp_path / "texts", part=23), [f"i{n}" for n in range(23)])


def test_what_cannot_be_read_keeps_its_row(tmp_path, monkeypatch):
    without_ray(monkeypatch)
    contents = [b"" if number in (3, 4, 20) else one for number, one in enumerate(CONTENTS)]
    contents[20] = None
    parquet.write_table(table(bytes=contents), tmp_path / "one.parquet")
    shards = embed(tmp_path / "one.parquet", Bytes(), tmp_path / "out", part=5)
    assert (len(shards), shards.num_unreadable) == (23, 3)
    assert shards.unreadable() == dict.fromkeys([103, 104, 120], "empty")
    check(shards, np.delete(np.arange(100, 123), [3, 4, 20]).tolist(), [one for one in contents if one])
    rows = parquet.read_table(shards.files[0])
    assert rows["embedding"].null_count == rows.num_rows - rows["error"].null_count == 2
    # A part of which nothing can be read.
    parquet.write_table(table(ids=[1, 2, 3], bytes=[b"", b"", b"abc"]), tmp_path / "two.parquet")
    shards = embed(tmp_path / "two.parquet", Bytes(), tmp_path / "two", part=2)
    assert [rows.shape for _, rows, _ in shards] == [(0, 3), (1, 3)]


@pytest.mark.parametrize("fails_at", [1, 2, 5])
def test_a_job_that_was_stopped_goes_on(tmp_path, files, monkeypatch, fails_at):
    without_ray(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        embed(files, Bytes(fails_at), tmp_path / "out", part=5)
    left = tmp_path / "out" / "shards" / ".part-00000004.parquet-0123.unfinished"
    left.write_bytes(b"of a worker that was killed")
    with pytest.raises(ValueError, match=f"{6 - fails_at} of 5 are missing"):
        Shards(tmp_path / "out")
    embedder = Bytes()
    shards = embed(files, embedder, tmp_path / "out", part=5)
    assert embedder.calls == 6 - fails_at
    check(shards, files, [CONTENTS[int(path[-6:-4])] for path in files])
    assert not left.exists()
    # And is not done again, nor are parts that Ray hands out twice.
    embed(files, embedder, tmp_path / "out", part=5)
    assert embedder.calls == 6 - fails_at


def test_a_shard_appears_whole_or_not_at_all(tmp_path):
    def fails(path):
        path.write_bytes(b"half")
        raise OSError("disk")

    (tmp_path / "shards").mkdir()
    with pytest.raises(OSError, match="disk"):
        _shards.replace(_shards.path_of(tmp_path, 0), fails)
    assert list((tmp_path / "shards").iterdir()) == []


def test_another_job_is_refused(tmp_path, files, monkeypatch):
    without_ray(monkeypatch)
    embed(files, Bytes(), tmp_path / "out", part=5)
    before = sorted((tmp_path / "out").rglob("*"))
    another = Bytes()
    another.fingerprint = "another"
    sized = Bytes()
    sized.image_size, sized.dtype = (32, 32), "float16"
    for arguments, size, message in [
        ((files, another), 5, "begun with another model. Choose"),
        ((files, sized), 5, "another image size and another dtype"),
        ((files[1:], Bytes()), 5, "another source and another rows"),
        ((files, Bytes()), 4, "another part"),
    ]:
        with pytest.raises(ValueError, match=message):
            embed(*arguments, tmp_path / "out", part=size)
    # The same names with other contents.
    (tmp_path / "photos" / "class 0" / "00.jpg").write_bytes(b"longer than before")
    with pytest.raises(ValueError, match="begun with another source"):
        embed(files, Bytes(), tmp_path / "out", part=5)
    assert sorted((tmp_path / "out").rglob("*")) == before


def test_refused_sources(tmp_path, files, monkeypatch):
    without_ray(monkeypatch)
    for name, columns in {
        "nothing": {"id": [1]},
        "floats": {"id": [1.5], "path": ["a"]},
        "no ids": {"bytes": [b"a"]},
        "labels": {"id": [1], "bytes": [b"a"], "label": [0.5]},
        "none": {"id": pa.array([1, None], pa.int64()), "bytes": [b"a", b"b"]},
        "empty": {"id": pa.array([], pa.int64()), "path": pa.array([], pa.string())},
    }.items():
        parquet.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    (tmp_path / "folder").mkdir()
    for source, message in [
        (tmp_path / "nothing.parquet", "must have a column `path` or `bytes`"),
        (tmp_path / "floats.parquet", "must have a column `id` of strings or integers"),
        (tmp_path / "no ids.parquet", "must have a column `id` of strings or integers"),
        (tmp_path / "labels.parquet", "a column `label` of strings or integers"),
        (tmp_path / "none.parquet", "must have an id in every row"),
        (tmp_path / "empty.parquet", "must have images"),
        (tmp_path / "folder", "must have images"),
        (tmp_path / "no such", "`source` must be paths"),
        (7, "`source` must be paths"),
        ([*files, files[3]], "every path once"),
        ([*files, os.fsdecode(b"caf\xe9.jpg")], "must have paths in UTF-8.*caf.*jpg"),
    ]:
        with pytest.raises(ValueError, match=message):
            embed(source, Bytes(), tmp_path / f"out of {source}"[:60])
    with pytest.raises(ValueError, match="`embedder` must be"):
        embed(files, lambda batch: batch, tmp_path / "out")
    for actors in (0, (3, 2), (1, 2, 3), 1.5):
        with pytest.raises(ValueError, match="`actors` must be"):
            embed(files, Bytes(), tmp_path / "out", actors=actors)


def test_refused_embedders(tmp_path, files, monkeypatch):
    without_ray(monkeypatch)

    class Short(Bytes):
        def __call__(self, batch):
            return {name: values[1:] for name, values in super().__call__(batch).items()}

    class Infinite(Bytes):
        def __call__(self, batch):
            found = super().__call__(batch)
            found["embedding"][1] = np.inf
            return found

    for embedder, message in [(Short(), "one embedding and error for each of 5"), (Infinite(), "in row 1 of ")]:
        with pytest.raises(ValueError, match=message):
            embed(files, embedder, tmp_path / type(embedder).__name__, part=5)
        assert not list((tmp_path / type(embedder).__name__ / "shards").iterdir())


def test_folders_of_something_else_are_refused(tmp_path, files, monkeypatch):
    without_ray(monkeypatch)
    with pytest.raises(ValueError, match="without a job"):
        Shards(tmp_path)
    shards = embed(files, Bytes(), tmp_path / "out", part=5)
    other = embed(files[:5], Bytes(), tmp_path / "other", part=5)
    # One of another job, and one of the same in another place.
    for strange in (other.files[0], shards.files[1]):
        shards.files[0].write_bytes(strange.read_bytes())
        with pytest.raises(ValueError, match=r"each in its place.* another part-00000000\.parquet"):
            Shards(tmp_path / "out")
    job = json.loads((tmp_path / "other" / "job.json").read_text())
    (tmp_path / "other" / "job.json").write_text(json.dumps({**job, "rows": 6}))
    with pytest.raises(ValueError, match="with 5 rows for 6"):
        Shards(tmp_path / "other")
    (tmp_path / "out" / "job.json").unlink()
    with pytest.raises(ValueError, match="must be an empty folder"):
        embed(files, Bytes(), tmp_path / "out", part=5)


def test_without_ray(tmp_path, files, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(ImportError, match=r"keras-epos\[ray\]"):
        embed(files, Bytes(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Dies(Bytes):
    """Kills its process at the second part, once."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def __call__(self, batch):
        found = super().__call__(batch)
        if self.calls == 2 and not any(self.folder.iterdir()):
            (self.folder / "died").write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        return found


def test_a_worker_of_ray_that_dies_loses_nothing(tmp_path, files):
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    pytest.importorskip("ray.data", reason="Ray Data is not installed")
    (tmp_path / "lives").mkdir()
    # Sent whole: the workers do not know this file.
    for module in ("scale_cases", __name__):
        ray.cloudpickle.register_pickle_by_value(sys.modules[module])
    ray.init(num_cpus=1, include_dashboard=False, object_store_memory=80 * 2**20, log_to_driver=False)
    try:
        shards = embed(files, Dies(tmp_path / "lives"), tmp_path / "out", part=3)
    finally:
        ray.shutdown()
    assert (tmp_path / "lives" / "died").exists()
    check(shards, files, [CONTENTS[int(path[-6:-4])] for path in files])
    assert (len(shards.files), len(shards)) == (8, 23)
