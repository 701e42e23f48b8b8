"""What the tests of `keras_epos.scale` share: images, an embedder without a network, and Ray's part in one process."""

from pathlib import Path

import numpy as np

from keras_epos.scale import _embed


class Bytes:
    """The first bytes of a file as its embedding; an empty one cannot be read."""

    fingerprint = "bytes"

    def __init__(self, fails_at=None):
        self.calls, self.fails_at = 0, fails_at

    def __call__(self, batch):
        self.calls += 1
        if self.calls == self.fails_at:
            raise KeyboardInterrupt
        if "path" in batch:
            batch = {"bytes": [Path(path).read_bytes() for path in batch["path"]]}
        rows = [np.frombuffer(one[:3].ljust(3, b"\0"), np.uint8) for one in batch["bytes"]]
        errors = np.array([None if one else "empty" for one in batch["bytes"]], object)
        return {"embedding": np.array(rows, np.float32), "error": errors}


def in_this_process(parts, writer, pool, options):
    """What `_embed._by_ray()` does."""
    for part in parts:
        writer(*part)


def without_ray(monkeypatch):
    monkeypatch.setattr(_embed, "_by_ray", lambda: in_this_process)
