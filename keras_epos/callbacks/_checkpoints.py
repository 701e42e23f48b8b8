"""Checkpoints in a folder: each of them whole, and known to be."""

import hashlib
import itertools
import os
import re
import secrets
import shutil
import warnings
from pathlib import Path

SUMS = "SHA256SUMS"
# The last one, and the one before in case that it is damaged.
KEPT = 2
_UNFINISHED = ".unfinished-"


class Checkpoints:
    """The last two checkpoints of a run, each a folder `epoch-<number>` with the SHA-256 of all its files.

    A checkpoint is written beside its place and then renamed: what stands under its name is whole, whenever the
    process was killed. The sums find what happened to it later; `sha256sum -c SHA256SUMS` reads them too.

    Args:
        folder: Of the run. What else lies in it is left alone.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"`folder` must be a folder, or be new. Received: {folder}, a file.")

    def write(self, epoch, save):
        """Let `save(path)` write into a new folder, which becomes the checkpoint after `epoch` epochs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(f"{_UNFINISHED}*"):  # by a process that was killed
            shutil.rmtree(left)
        place = self.folder / f"epoch-{epoch:05}"
        beside = self.folder / f"{_UNFINISHED}{secrets.token_hex(4)}"
        try:
            beside.mkdir()
            save(beside)
            sums = "".join(f"{_sum(path)}  {path.name}\n" for path in sorted(beside.iterdir()))
            (beside / SUMS).write_text(sums)
            if place.exists():  # a damaged one, whose epoch was trained once more
                shutil.rmtree(place)
            os.replace(beside, place)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        for old in self._all()[KEPT:]:
            shutil.rmtree(old)

    def newest(self):
        """The folder of the newest checkpoint that is whole, or `None` where there is none at all.

        Warns of a damaged one, in place of which the one before is taken.

        Raises:
            ValueError: If all are damaged.
        """
        there = self._all()
        for place, before in itertools.zip_longest(there, there[1:]):
            damage = _damage(place)
            if damage is None:
                return place
            if before is not None:
                warnings.warn(
                    f"The checkpoint {place} is damaged ({damage}); the one before is taken: {before.name}.",
                    stacklevel=2,
                )
        if there:
            raise ValueError(
                f"`folder` must hold a checkpoint that is whole. Received: {self.folder}, in which "
                f"{', '.join(place.name for place in there)} are damaged ({damage}). Remove them to begin anew."
            )
        return None

    def _all(self):
        """Newest first."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        numbered = [(int(place.name[6:]), place) for place in found if re.fullmatch(r"epoch-\d{5,}", place.name)]
        return [place for _, place in sorted(numbered, reverse=True)]


def _sum(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damage(place):
    """What is wrong with a checkpoint in a few words, or `None`."""
    try:
        lines = (place / SUMS).read_text().splitlines()
        sums = dict(reversed(line.split("  ", 1)) for line in lines)
        if sums.keys() != {path.name for path in place.iterdir()} - {SUMS}:
            return "its files are not those that were written"
        changed = [name for name, value in sums.items() if _sum(place / name) != value]
    except (OSError, ValueError) as error:
        return f"{getattr(error, 'filename', None) or SUMS} cannot be read"
    return f"{changed[0]} is not what was written" if changed else None
