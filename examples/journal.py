"""A run on disk: checkpoint and metrics after every epoch, each replaced as a whole, so nothing is half-written."""

import json
import os

import keras


class Journal(keras.callbacks.Callback):
    """Writes a checkpoint and `metrics.json` after every epoch, and finds them again on `--resume`.

    Args:
        folder: Where to write.
        settings: Plain dict of what the run depends on; a resumed run must have the same.
        resume: Whether to go on from what the folder holds.

    Attributes:
        model_to_resume: The model as it was after the last complete epoch, or `None`.
        history: One dict an epoch.
        before: Measures before training.

    Raises:
        ValueError: If there is nothing to resume, or it was started with other settings.
    """

    def __init__(self, folder, settings, resume=False):
        super().__init__()
        self.folder, self.settings = folder, settings
        self.history, self.before, self.checkpoint, self.model_to_resume = [], None, None, None
        folder.mkdir(parents=True, exist_ok=True)
        if resume:
            self._resume()

    def _resume(self):
        record = self.folder / "metrics.json"
        record = json.loads(record.read_text()) if record.exists() else {}
        if not record.get("checkpoint"):
            raise ValueError(f"`--resume` must find an interrupted run. Received: {self.folder}, which holds none.")
        changed = [key for key, value in self.settings.items() if record["settings"].get(key) != value]
        if changed:
            raise ValueError(f"`--resume` must have the settings of the run it continues. Changed: {sorted(changed)}")
        self.before, self.history, self.checkpoint = record["before"], record["history"], record["checkpoint"]
        self.model_to_resume = keras.saving.load_model(self.folder / self.checkpoint)

    def on_epoch_end(self, epoch, logs=None):
        self.history.append({"epoch": epoch + 1, **{key: float(value) for key, value in (logs or {}).items()}})
        old, self.checkpoint = self.checkpoint, f"epoch-{epoch + 1}.keras"
        # The record names its checkpoint and is replaced in one step, so the two always belong together.
        self._replace(self.checkpoint, self.model.save)
        self.write()
        if old and old != self.checkpoint:
            (self.folder / old).unlink(missing_ok=True)

    def write(self, **measures):
        """Write the record, with further measures such as `after`."""
        record = {"settings": self.settings, "checkpoint": self.checkpoint, "before": self.before}
        record |= {**measures, "history": self.history}
        self._replace("metrics.json", lambda path: path.write_text(json.dumps(record, indent=1)))

    def _replace(self, name, save):
        unfinished = self.folder / f"unfinished-{name}"
        save(unfinished)
        os.replace(unfinished, self.folder / name)
