"""Embeddings of many images, a part at a time, so that a job that was killed goes on where it stopped."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import click
import numpy as np
from keras import ops

from keras_epos._outputs import choose
from keras_epos.cli._files import replace
from keras_epos.data import unreadable
from keras_epos.data._images import image_batches_with_gaps

# Images of a part: what a killed job loses at most.
PART = 512


def embed_images(model, paths, image_size, parts=None, may_be_none=False):
    """Embed the images that can be read.

    Args:
        model: Of images to embeddings.
        paths: N paths.
        image_size: Side in pixels, or `(height, width)`.
        parts: `Parts` to keep what was done, and to begin with; or `None`.
        may_be_none: Whether it is no error if no image can be read.

    Returns:
        `(embeddings, rows, bad)`: float32 `(R, D)`, the places in `paths` of these rows, int64 `(R,)`, and a dict of
        the place of each other image to the reason why it cannot be read.

    Raises:
        ValueError: If no image can be read, unless that may be.
    """
    rows, embeddings, bad = [], [], {}
    starts = range(0, len(paths), PART)
    with click.progressbar(starts, label=f"{len(paths):,} images", file=click.get_text_stream("stderr")) as progress:
        for number, start in enumerate(progress):
            part = paths[start : start + PART]
            found = parts and parts.read(number)
            if not found:
                found = _embed_part(model, part, image_size)
                if parts:
                    parts.write(number, *found)
            vectors, reasons = found
            bad |= {start + place: reason for place, reason in reasons.items()}
            rows.append([start + place for place in range(len(part)) if place not in reasons])
            embeddings.append(vectors)
    if len(bad) == len(paths) and not may_be_none:
        raise ValueError(f"The images must be readable. Received: {len(paths)} of which none is; {paths[0]}: {bad[0]}")
    return np.concatenate(embeddings), np.concatenate(rows).astype(np.int64), bad


def _embed_part(model, paths, image_size):
    """Embeddings of the images that can be read, and a dict of the place of each other one to the reason."""
    embeddings, is_read = [], np.zeros(len(paths), bool)
    for images, places in image_batches_with_gaps(paths, image_size):
        places = ops.convert_to_numpy(places)
        embeddings.append(choose(model, model.predict_on_batch(images), None)[places >= 0])
        is_read[places[places >= 0]] = True
    gaps = np.flatnonzero(~is_read).tolist()
    reasons = unreadable([paths[place] for place in gaps])
    # What can be read now after all stays out: the batch that it would have been in is done.
    return np.concatenate(embeddings), {place: reasons.get(i, "unreadable then") for i, place in enumerate(gaps)}


def tell_unreadable(bad, paths, listed):
    """List the images that cannot be read, with the reason, in a file."""
    if bad:
        lines = [f"{paths[place]}\t{' '.join(reason.split())}\n" for place, reason in sorted(bad.items())]
        replace(listed, lambda path: path.write_text("".join(lines)))
        click.echo(f"{len(bad)} images cannot be read: {listed}", err=True)


class Parts:
    """Parts of a job in a folder beside its result, of which each is there whole or not at all."""

    def __init__(self, folder, job):
        """Begin, or go on with a job in `folder`.

        Args:
            folder: Of its parts.
            job: What its result depends on: a part of another job is not taken for one of this.

        Raises:
            ValueError: If the folder holds another job.
        """
        self.folder, self.name = Path(folder), hashlib.sha256(json.dumps(job).encode()).hexdigest()
        note = self.folder / "job.json"
        if note.exists() and json.loads(note.read_text()) != self.name:
            raise ValueError(
                f"{self.folder} holds parts of another job: other images, another model or another image size. Remove "
                "it, or choose another --output."
            )
        self.is_begun = note.exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        replace(note, lambda path: path.write_text(json.dumps(self.name)))

    def read(self, number):
        """What `write` was given, or `None`."""
        path = self._path(number)
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as part:
            reasons = json.loads(str(part["reasons"]))
            return part["embeddings"], {int(place): reason for place, reason in reasons.items()}

    def write(self, number, embeddings, reasons):
        def save(path):
            with open(path, "wb") as file:
                np.savez(file, embeddings=embeddings, reasons=json.dumps(reasons))
                file.flush()
                os.fsync(file.fileno())

        replace(self._path(number), save)

    def remove(self):
        shutil.rmtree(self.folder)

    def _path(self, number):
        return self.folder / f"{number:06d}.npz"
