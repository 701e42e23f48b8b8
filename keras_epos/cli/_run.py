"""The folder of a training: a record that is replaced as a whole, and a checkpoint after every epoch."""

import json
from pathlib import Path

import keras

from keras_epos.cli._files import replace

RECORD = "metrics.json"
START = "start.keras"


class Run(keras.callbacks.Callback):
    """A run that is begun, or goes on after the last epoch that it completed.

    The record names the checkpoint that belongs to it, and is written after it. So a process that is killed at any
    moment leaves a whole state, and perhaps a file that no record names.

    Args:
        folder: `pathlib.Path` of the run.
        settings: Dictionary of what its result depends on, values that JSON knows.
        restart: Whether to begin anew where there is a run already.

    Attributes:
        record: Dictionary of what is known of the run: `settings`, `checkpoint`, `epochs` (one dictionary each), and
            what `write` was given.

    Raises:
        ValueError: If the folder holds something else, or a run with other settings.
    """

    def __init__(self, folder, settings, restart=False):
        super().__init__()
        self.folder, settings = Path(folder), json.loads(json.dumps(settings))
        self.record = _read(self.folder)
        if self.record is None or restart:
            self.record = {"settings": settings, "checkpoint": None, "epochs": [], "finished": False}
        elif changed := _changed(self.record["settings"], settings):
            raise ValueError(
                f"{self.folder} must be a run with the same settings. Received: {', '.join(changed)}. Repeat the "
                "command of the run, choose another --output, or begin anew by --restart."
            )

    def start(self, build):
        """The model after the last complete epoch; or a new one by `build()`, which is kept as the start."""
        if self.record["checkpoint"] is None:
            model = build()  # first, so that settings that cannot be built leave nothing
            self.folder.mkdir(parents=True, exist_ok=True)
            self.write()
            self._keep(model, START)
        else:
            model = keras.saving.load_model(self.folder / self.record["checkpoint"])
        return model

    def on_epoch_end(self, epoch, logs=None):
        self.record["epochs"].append({name: float(value) for name, value in (logs or {}).items()})
        self._keep(self.model, f"epoch-{epoch + 1}.keras")

    def write(self, **found):
        """Write the record, with more of what is known."""
        self.record |= found
        replace(self.folder / RECORD, lambda path: path.write_text(json.dumps(self.record, indent=1)))

    def finish(self):
        self.write(finished=True, checkpoint=None)
        self._remove_checkpoints(but=())

    def _keep(self, model, name):
        replace(self.folder / name, model.save)
        self.write(checkpoint=name)
        self._remove_checkpoints(but=(START, name))

    def _remove_checkpoints(self, but):
        # With what killed processes were writing.
        for pattern in ("epoch-*.keras", START, ".????????-*"):
            for path in self.folder.glob(pattern):
                if path.name not in but and path.is_file():
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
        if not {"settings", "checkpoint", "epochs", "finished"} <= record.keys():
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
