"""The folder of a training: a record that is replaced as a whole, the model at its start, and checkpoints."""

import json
import shutil
from pathlib import Path

import keras

import keras_epos
from keras_epos.cli._files import replace

RECORD = "metrics.json"
START = "start.keras"
CHECKPOINTS = "checkpoints"


class Run:
    """A run that is begun, or goes on after the last epoch that it completed.

    Args:
        folder: `pathlib.Path` of the run.
        settings: Dictionary of what its result depends on, values that JSON knows.
        restart: Whether to begin anew where there is a run already.

    Attributes:
        record: Dictionary of what is known of the run: `settings`, `epochs` (one dictionary each), and what `write` was
            given.

    Raises:
        ValueError: If the folder holds something else, or a run with other settings.
    """

    def __init__(self, folder, settings, restart=False):
        self.folder, self.restart = Path(folder), restart
        self._new = {"settings": json.loads(json.dumps(settings)), "epochs": [], "finished": False}
        self.record = _read(self.folder)
        if self.record is None or restart:
            self.record = dict(self._new)
        elif changed := _changed(self.record["settings"], self._new["settings"]):
            raise ValueError(
                f"{self.folder} must be a run with the same settings. Received: {', '.join(changed)}. Repeat the "
                "command of the run, choose another --output, or begin anew by --restart."
            )

    def start(self, build):
        """The model at the start of the run; a new one by `build()` is kept as that."""
        start = self.folder / START
        if self.restart or not start.exists():
            model = build()  # first, so that settings that cannot be built leave nothing
            self.folder.mkdir(parents=True, exist_ok=True)
            start.unlink(missing_ok=True)
            self._remove_checkpoints()
            self.record = dict(self._new)
            self.write()
            replace(start, model.save)
        return keras.saving.load_model(start)

    def resume(self, batches):
        """The callback that goes on with the run, and keeps it."""
        return keras_epos.Resume(self.folder / CHECKPOINTS, batches)

    def write(self, **found):
        """Write the record, with more of what is known."""
        self.record |= found
        replace(self.folder / RECORD, lambda path: path.write_text(json.dumps(self.record, indent=1)))

    def finish(self):
        self.write(finished=True)
        (self.folder / START).unlink(missing_ok=True)
        self._remove_checkpoints()

    def _remove_checkpoints(self):
        shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)
        for path in self.folder.glob(".????????-*"):  # what killed processes were writing
            if path.is_file():
                path.unlink()


def _read(folder):
    """The record in a folder, or `None` for a folder that is new, empty, or was left before there was a record."""
    path = folder / RECORD
    if not path.exists():
        if folder.exists() and (not folder.is_dir() or any(not one.name.startswith(".") for one in folder.iterdir())):
            raise ValueError(f"--output must be a folder that is new, empty, or of a run. Received: {folder}.")
        return None
    try:
        record = json.loads(path.read_text())
        if not {"settings", "epochs", "finished"} <= record.keys():
            raise ValueError("it has other entries")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} must be the record of a run of this version. Received: {error}.") from error
    return record


def _changed(was, now):
    """A phrase for each setting that differs."""
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    return [
        "other photographs" if name == "photographs" else f"{name} {now.get(name)}, which was {was.get(name)}"
        for name in names
    ]
