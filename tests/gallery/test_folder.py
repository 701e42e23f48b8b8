"""Galleries in folders: another process finds the same, a killed one leaves the old or the new, damage is named."""

import dataclasses
import json
import shutil
import time

import numpy as np
import pytest
from gallery_oracle import Oracle, check, clustered
from gallery_writer import run, said, started

import keras_epos
from keras_epos.gallery._storage import STORAGES

ROWS = clustered(60, 12, seed=0)
IDS = [f"photo {one}" if one % 2 else one for one in range(60)]
LABELS = [one // 10 if one % 20 < 10 else f"class {one // 10}" for one in range(60)]
PAYLOAD = [{"camera": "äb"[one % 2], "size": [one, 1.5], "none": None} for one in range(60)]
QUERIES = clustered(7, 12, seed=1)


def filled(**settings):
    gallery, oracle = keras_epos.Gallery(**settings), Oracle()
    gallery.add(ROWS, IDS, LABELS, PAYLOAD)
    oracle.add(ROWS, IDS, LABELS, PAYLOAD)
    return gallery, oracle


def answers(gallery):
    found = gallery.search(QUERIES, 5)
    return [found.ids.tolist(), found.labels.tolist(), found.similarity.tolist(), found.payload.tolist()]


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_another_process_answers_the_same(tmp_path):
    expected = {}
    for storage in STORAGES:
        gallery, _ = filled(storage=storage, fingerprint="ours", threshold=0.25)
        gallery.save(tmp_path / "new" / storage)
        gallery.add(QUERIES[:3], [100, 101, 102])
        gallery.remove([100, "photo 3", 4])
        expected[storage] = [answers(gallery), 0.25, storage, gallery.ids.tolist()]
    program = (
        "import sys, json, pathlib, keras_epos\n"
        "from test_folder import answers\n"
        "galleries = {path.name: keras_epos.Gallery.load(path, fingerprint='ours')"
        " for path in pathlib.Path(sys.argv[1]).iterdir()}\n"
        "print(json.dumps({name: [answers(one), one.threshold, one.storage, one.ids.tolist()]"
        " for name, one in galleries.items()}))"
    )
    assert json.loads(run(program, tmp_path / "new")) == expected


def test_changes_are_written_at_once(tmp_path):
    gallery, oracle = filled()
    gallery.save(tmp_path)
    assert gallery.folder == tmp_path
    for number in range(20):
        gallery.add(QUERIES[:2], [f"new {number}", f"other {number}"])
        oracle.add(QUERIES[:2], [f"new {number}", f"other {number}"], [None] * 2, [{}] * 2)
        gallery.remove([f"other {number}", IDS[number]])
        oracle.remove([f"other {number}", IDS[number]])
        gallery.threshold = number / 100
        loaded = keras_epos.Gallery.load(tmp_path)
        check(loaded, oracle, QUERIES, 30)
        check(gallery, oracle, QUERIES, 30)
        assert loaded.threshold == number / 100
        assert loaded.ids.tolist() == gallery.ids.tolist()
    # Twenty additions have not become twenty segments, and nothing lies about.
    manifest = json.loads((tmp_path / "gallery.json").read_text())["gallery"]
    assert len(manifest["segments"]) < 8
    named = [entry["name"] for one in manifest["segments"] for entry in one["files"].values()]
    assert files(tmp_path) == sorted([*named, "gallery.json"])


def test_what_was_loaded_can_be_changed_and_saved_elsewhere(tmp_path):
    gallery, oracle = filled(storage="int8")
    gallery.save(tmp_path / "first")
    loaded = keras_epos.Gallery.load(tmp_path / "first", verify=False)
    loaded.add(QUERIES, range(100, 107))
    loaded.save(tmp_path / "second")
    shutil.rmtree(tmp_path / "first")
    assert answers(keras_epos.Gallery.load(tmp_path / "second")) == answers(loaded)
    # Another gallery takes the place of the one that was there.
    other, _ = filled()
    other.save(tmp_path / "second")
    check(keras_epos.Gallery.load(tmp_path / "second"), oracle, QUERIES, 5)
    with pytest.raises(ValueError, match="another process has written to it"):
        loaded.remove([100])
    assert 100 in loaded.ids


def test_everything_removed(tmp_path):
    gallery, _ = filled()
    gallery.save(tmp_path)
    gallery.remove(IDS)
    loaded = keras_epos.Gallery.load(tmp_path)
    assert len(loaded) == 0
    assert files(tmp_path) == ["gallery.json"]
    loaded.add(ROWS, IDS)
    assert len(keras_epos.Gallery.load(tmp_path)) == 60


def damage(path, how):
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(data[:-1])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        place = {"first": 0, "middle": len(data) // 2, "last": len(data) - 1}[how]
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])


@pytest.mark.parametrize("how", ["missing", "cut", "empty", "first", "middle", "last"])
def test_every_damaged_file_is_named(how, tmp_path):
    gallery, _ = filled(storage="int8")
    gallery.save(tmp_path / "whole")
    gallery.remove([0])
    names = files(tmp_path / "whole")
    assert {name.split(".")[-2] for name in names} == {"gallery", "values", "norms", "rows", "items", "removed"}
    for name in names:
        shutil.copytree(tmp_path / "whole", tmp_path / "damaged", dirs_exist_ok=True)
        damage(tmp_path / "damaged" / name, how)
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            keras_epos.Gallery.load(tmp_path / "damaged")
        assert name in str(error.value)


def test_without_verification_sizes_and_forms_are_still_compared(tmp_path):
    gallery, _ = filled()
    gallery.save(tmp_path)
    (path,) = tmp_path.glob("*.items.jsonl")
    whole = path.read_bytes()
    path.write_bytes(b"x" * len(whole))
    with pytest.raises(ValueError, match=path.name):
        keras_epos.Gallery.load(tmp_path, verify=False)
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=path.name):
        keras_epos.Gallery.load(tmp_path, verify=False)
    # One line fewer in as many bytes.
    first, second, rest = whole.split(b"\n", 2)
    path.write_bytes(first + b" " * (len(second) + 1) + b"\n" + rest)
    with pytest.raises(ValueError, match="it holds 59 rows and not 60"):
        keras_epos.Gallery.load(tmp_path, verify=False)


def test_a_manifest_that_names_other_files_or_another_format(tmp_path):
    from keras_epos.gallery import _folder

    gallery, _ = filled()
    gallery.save(tmp_path)
    manifest = json.loads((tmp_path / "gallery.json").read_text())["gallery"]
    manifest["segments"][0]["files"]["values"]["name"] = "../secret.npy"
    _folder._replace(tmp_path, manifest)
    with pytest.raises(ValueError, match=r"names a file '\.\./secret\.npy'"):
        keras_epos.Gallery.load(tmp_path)
    _folder._replace(tmp_path, {**manifest, "format": 2})
    with pytest.raises(ValueError, match=r"of format 1\. Received: .* of format 2"):
        keras_epos.Gallery.load(tmp_path)


def test_folders_of_others_are_left_alone(tmp_path):
    gallery, _ = filled()
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"which holds 'notes\.txt'"):
        gallery.save(tmp_path)
    assert files(tmp_path) == ["notes.txt"]
    with pytest.raises(FileNotFoundError, match=r"holds no gallery\.json"):
        keras_epos.Gallery.load(tmp_path)
    with pytest.raises(ValueError, match="`dim` must be known"):
        keras_epos.Gallery().save(tmp_path / "new")
    # What else lies in a gallery's folder stays there.
    gallery.save(tmp_path / "new")
    (tmp_path / "new" / "notes.txt").write_text("mine")
    gallery.add(QUERIES, range(100, 107))
    assert (tmp_path / "new" / "notes.txt").read_text() == "mine"


def test_what_cannot_be_written_changes_nothing(tmp_path, monkeypatch):
    gallery, oracle = filled()
    gallery.save(tmp_path)
    before = files(tmp_path)
    for fails in ("write_array", "os.replace", "os.fsync"):
        module = "keras_epos.gallery._segment." if fails == "write_array" else ""

        def full(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(module + fails, full)
            for change in (
                lambda: gallery.add(QUERIES, range(100, 107)),
                lambda: gallery.remove(IDS[:5]),
                lambda: setattr(gallery, "threshold", 0.5),
            ):
                # A threshold is written without any array.
                if fails == "write_array" and change.__code__.co_names[-1:] == ("setattr",):
                    continue
                with pytest.raises(OSError, match="No space left"):
                    change()
        assert gallery.threshold is None
        assert files(tmp_path) == before
        check(gallery, oracle, QUERIES, 5)
        check(keras_epos.Gallery.load(tmp_path), oracle, QUERIES, 5)


def test_a_gallery_of_another_fingerprint_is_not_loaded(tmp_path):
    filled(fingerprint="ours")[0].save(tmp_path)
    with pytest.raises(ValueError, match=r"what made the gallery, 'ours'\. Received: fingerprint='theirs'"):
        keras_epos.Gallery.load(tmp_path, fingerprint="theirs")


def test_thresholds_are_kept(tmp_path):
    rows = np.random.default_rng(0).normal(size=(200, 4))
    threshold = keras_epos.calibrate(rows, np.arange(200) % 50, false_accept_rate=0.5)
    threshold = dataclasses.replace(threshold, value=0.5, per_class={0: 0.7, "class 1": 0.2, 2: 0.3})
    gallery, _ = filled(threshold=threshold)
    gallery.save(tmp_path)
    loaded = keras_epos.Gallery.load(tmp_path)
    assert loaded.threshold == threshold
    assert loaded.match(QUERIES).labels.tolist() == gallery.match(QUERIES).labels.tolist()
    # And saved again as it was.
    loaded.add(QUERIES, range(100, 107))
    assert keras_epos.Gallery.load(tmp_path).threshold == loaded.threshold


def test_a_killed_writer_leaves_the_old_gallery_or_the_new_one(tmp_path):
    """Some twenty times, at random moments of additions, removals and copies of the whole."""
    folder = tmp_path / "gallery"
    gallery = keras_epos.Gallery(storage="int8")
    gallery.add(clustered(40, 12, 0), range(40))
    gallery.save(folder)
    generator, left, happened = np.random.default_rng(0), 0, set()
    for number in range(20):
        process, receiver = started(folder)
        # However busy the machine is: half of them have done something before.
        complete = [receiver.recv() for _ in range(2 * (number % 2))]
        time.sleep(generator.uniform(0, 0.1))
        process.kill()
        process.join()
        complete += said(receiver)
        loaded = keras_epos.Gallery.load(folder)
        ids = loaded.ids.astype(int)
        last = ids.max() + 1
        # Whole additions only, and all removals but perhaps the last, and nothing that was said to be done is undone.
        assert last % 40 == 0
        removed = set(range(last)) - set(ids.tolist())
        everything = {one for start in range(40, last, 40) for one in range(start - 20, start)}
        assert removed in (everything, everything - set(range(last - 60, last - 40)))
        if complete:
            assert last >= complete[-1][1] + 40
            happened.update(what for what, _ in complete)
        for start in range(0, last, 40):
            rows = clustered(40, 12, start)[:20]
            assert (loaded.search(rows, 1).ids[:, 0] == np.arange(start, start + 20)).all()
        if (tmp_path / "gallery-copy" / "gallery.json").exists():
            assert len(keras_epos.Gallery.load(tmp_path / "gallery-copy"))
        named = json.loads((folder / "gallery.json").read_text())["gallery"]["segments"]
        left += len(files(folder)) > 1 + sum(len(one["files"]) for one in named)
    # The next writer removes what they have left.
    loaded.add(clustered(1, 12, 5), [10**6])
    named = json.loads((folder / "gallery.json").read_text())["gallery"]["segments"]
    assert len(files(folder)) == 1 + sum(len(one["files"]) for one in named)
    assert left
    assert happened == {"added", "removed"}


def test_a_reader_beside_a_writer(tmp_path):
    """What the manifest names may be replaced while it is read."""
    folder = tmp_path / "gallery"
    gallery = keras_epos.Gallery()
    gallery.add(clustered(40, 12, 0), range(40))
    gallery.save(folder)
    process, _ = started(folder)
    for _ in range(50):
        loaded = keras_epos.Gallery.load(folder)
        assert (loaded.search(clustered(40, 12, 0)[:20], 1).ids[:, 0] == np.arange(20)).all()
    process.kill()
    process.join()
