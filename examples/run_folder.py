"""Files of a run: none is half-written, and none is lost to a later run."""

import json
import os
import shutil
import tempfile
from pathlib import Path

RECORD = "metrics.json"
UNFINISHED = "unfinished-"


def replace(path, save):
    """Write a file whole or not at all: `save` gets a path beside its place, and what it wrote is then renamed.

    Raises:
        OSError: If the disk is full, or the place cannot be written. It names the file, which is as it was.
    """
    path, beside = Path(path), None
    try:
        beside = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=path.parent))
        save(beside / path.name)
        os.replace(beside / path.name, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)


def remove_unfinished(folder):
    """Remove what killed processes were writing. Not while another process writes into the folder."""
    for left in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def read_record(folder):
    """The record of a run as a dict, or `None` where there is none."""
    path = Path(folder) / RECORD
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text())
    except ValueError:
        record = None
    if not isinstance(record, dict) or not {"settings", "history"} <= record.keys():
        raise ValueError(f"{path} must be the record of a run of train_cars.py. Received: a file that is none.")
    return record


def is_begun(folder, records):
    """Whether one of the folders in `records` has its record, or a killed run had only come to making `folder`."""
    if any((record / RECORD).exists() for record in records):
        return True
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return folder.is_dir() and all(UNFINISHED in str(path) for path in files)


def free_folder(folder):
    """`folder`, or the first of `folder-2`, `folder-3`, ... that is not there."""
    number = 1
    while _numbered(folder, number).exists():
        number += 1
    return _numbered(folder, number)


def latest_folder(folder):
    """The last of `folder`, `folder-2`, ... that is there."""
    number = 1
    while _numbered(folder, number + 1).exists():
        number += 1
    return _numbered(folder, number)


def _numbered(folder, number):
    return folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
