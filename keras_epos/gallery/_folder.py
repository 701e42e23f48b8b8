"""The folder of a gallery: segments that are never changed, and a manifest that names them, replaced as a whole.

A process that is killed leaves the old manifest or the new one, and perhaps files that neither names.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
from pathlib import Path

from keras_epos.gallery._files import damaged, written
from keras_epos.gallery._segment import Segment

MANIFEST = "gallery.json"
FORMAT = 1
_PART = re.compile(r"[0-9a-f]{16}\.((values|norms|rows|removed|items)\.(npy|jsonl)|index\.faiss)")
_UNFINISHED = re.compile(r"\.[0-9a-f]{16}\.json")


def write(folder, settings, segments, generation, known, index=None):
    """Write the segments that are not there yet, and then the manifest: until its last step nothing has changed.

    Args:
        folder: `pathlib.Path`, made when missing.
        settings: What the manifest holds beside the segments, values that JSON knows.
        generation: That of the manifest that this one replaces, or `None` to replace any.
        known: As `Segment.read` takes it.
        index: An `Index` to write, or what `Index.write` returned of one that stays, or `None`.

    Returns:
        `(segments, generation, index)` as they are in the folder now.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _check_own(folder)
    names = [secrets.token_hex(8) for _ in [*segments, index]]
    try:
        files = [segment.write(folder, name) for segment, name in zip(segments, names, strict=False)]
        if index is not None and not isinstance(index, dict):
            index = index.write(folder, names[-1])
        entries = [{"rows": len(segment), "files": own} for segment, own in zip(segments, files, strict=True)]
        found = _generation(folder)
        if generation is not None and found != generation:
            raise ValueError(
                f"The gallery in {folder} must be the one that was loaded. Received: its change number {found}, where "
                f"{generation} was expected: another process has written to it. Load it again."
            )
        # Read again before it counts: from now on the rows stay in their files.
        segments = [
            segment
            if segment.folder == folder and segment.files == own
            else Segment.read(folder, len(segment), settings["dim"], settings["storage"], own, known, verify=False)
            for segment, own in zip(segments, files, strict=True)
        ]
        changed = {"format": FORMAT, "generation": found + 1, "segments": entries, "index": index}
        _replace(folder, {**settings, **changed})
    except Exception as error:
        with contextlib.suppress(OSError):
            for path in [path for name in names for path in folder.glob(f"{name}.*")]:
                path.unlink()
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            message = "No space left to write the gallery; it stays as it was"
            raise OSError(errno.ENOSPC, message, str(folder)) from error
        raise
    with contextlib.suppress(OSError):
        _remove_leftovers(folder, {entry["name"] for entry in _entries(entries, index)})
    return segments, found + 1, index


def read(folder, known, verify, index_of):
    """`(manifest, segments, index)` of a gallery's folder, where `index_of(manifest)` reads the index."""
    for _ in range(10):
        manifest = _manifest(folder)
        try:
            segments = [
                Segment.read(folder, one["rows"], manifest["dim"], manifest["storage"], one["files"], known, verify)
                for one in manifest["segments"]
            ]
            return manifest, segments, index_of(manifest)
        except (FileNotFoundError, ValueError):
            # A writer may have replaced the manifest meanwhile, and removed what the old one named: a file that is
            # opened a second time is missing, or seems damaged.
            if _manifest(folder)["generation"] == manifest["generation"]:
                raise
    raise OSError(f"The gallery in {folder} changes faster than it can be read.")


def _replace(folder, manifest):
    text = json.dumps(manifest, sort_keys=True, allow_nan=False)
    unfinished = folder / f".{secrets.token_hex(8)}.json"
    try:
        with written(unfinished) as file:
            file.write(json.dumps({"sha256": _hash(text), "gallery": json.loads(text)}, sort_keys=True).encode())
        _sync(folder)
        os.replace(unfinished, folder / MANIFEST)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _sync(folder)


def _manifest(folder):
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(
            f"`folder` must be a gallery that `save` has written. Received: folder={str(folder)!r}, which holds no "
            f"{MANIFEST}."
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        manifest = found["gallery"]
        if found["sha256"] != _hash(json.dumps(manifest, sort_keys=True)):
            raise ValueError("its SHA-256 is not its own")
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, f"it cannot be read ({error})") from error
    if manifest["format"] != FORMAT:
        raise ValueError(
            f"`folder` must hold a gallery of format {FORMAT}. Received: {path} of format {manifest['format']}. Load "
            "it with the version of keras_epos that wrote it."
        )
    for entry in _entries(manifest["segments"], manifest.get("index")):
        if not _PART.fullmatch(entry["name"]):
            raise damaged(path, f"it names a file {entry['name']!r}")
    return manifest


def _entries(segments, index):
    """Of all files that a manifest names."""
    for one in segments:
        yield from one["files"].values()
    if index is not None:
        yield index["file"]


def _generation(folder):
    return _manifest(folder)["generation"] if (folder / MANIFEST).exists() else 0


def _check_own(folder):
    """Turn away a folder that holds something else than a gallery, or than what a killed writer left."""
    if (folder / MANIFEST).exists():
        return
    others = sorted(path.name for path in folder.iterdir() if not _is_own(path))
    if others:
        raise ValueError(
            f"`folder` must be a gallery, empty, or missing. Received: folder={str(folder)!r}, which holds "
            f"{others[0]!r}."
        )


def _is_own(path):
    return bool(_PART.fullmatch(path.name) or _UNFINISHED.fullmatch(path.name))


def _remove_leftovers(folder, named):
    for path in folder.iterdir():
        if _is_own(path) and path.name not in named:
            path.unlink()


def _hash(text):
    return hashlib.sha256(text.encode()).hexdigest()


def _sync(folder):
    """Bring the names in a folder to the disk, where the system can."""
    with contextlib.suppress(OSError):
        file = os.open(Path(folder), os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
