"""A run on disk: its record from before the first epoch on, and a checkpoint after every epoch."""

import importlib
import json
import platform
import warnings

import keras
from run_folder import RECORD, read_record, remove_unfinished, replace

import keras_epos

# Before training; by the features of the backbone alone, untrained; when the last epoch ended; by what was chosen
# between start and end, and how: the share of the way, and Recall of held-out classes at each share; at last.
MEASURES = ("before", "backbone", "end", "chosen", "after")


class Journal(keras.callbacks.Callback):
    """Writes a checkpoint and `metrics.json` after every epoch, and finds them again on `--resume`.

    Args:
        folder: Where to write. Nothing is written before `start`.
        settings: Plain dict of what the run depends on; a resumed run must have the same.
        resume: Whether to go on from what the folder holds: from the last complete epoch, or from the first one
            where none is.

    Attributes:
        history: One dict an epoch.
        measures: What was measured beside the epochs: see `MEASURES`.

    Raises:
        ValueError: If the folder holds a run already and is not to be resumed, or was started with other settings.
    """

    def __init__(self, folder, settings, resume=False):
        super().__init__()
        self.folder, self.settings = folder, json.loads(json.dumps(settings))
        self.history, self.measures, self.checkpoint, self.seeds = [], {}, None, []
        record = read_record(folder)
        if record is not None:
            if not resume:
                raise ValueError(
                    f"`--out` must not hold a run already. Received: {folder}. Go on with that run by --resume, or "
                    "choose another folder."
                )
            self._refuse_others(record["settings"])
            self.history, self.checkpoint = record["history"], record["checkpoint"]
            self.seeds = record.get("seeds", [])
            self.measures = {name: record[name] for name in MEASURES if name in record}

    def _refuse_others(self, recorded):
        names = sorted(recorded.keys() | self.settings.keys())
        changed = [
            f"{name} (was {recorded.get(name)}, is {self.settings.get(name)})"
            for name in names
            if recorded.get(name) != self.settings.get(name)
        ]
        if changed:
            raise ValueError(
                f"`--resume` must have the settings of the run in {self.folder}. Received: other {', '.join(changed)}."
            )

    def start(self, build):
        """The model as it was after the last complete epoch, or a new one by `build`.

        The folder and its record are there from now on. What a killed run left unfinished is removed.
        """
        model = build() if self.checkpoint is None else self._load()
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(self.folder)
        self._remove_other_checkpoints()
        self.write()
        return model

    def _load(self):
        model = keras.saving.load_model(self.folder / self.checkpoint)
        seeds = seeds_of(model)
        if len(seeds) != len(self.seeds):
            warnings.warn(
                f"{self.folder / RECORD} of an earlier version holds no states of dropout and random mining: "
                "epochs to come draw others than those of a run without a stop.",
                stacklevel=3,
            )
            return model
        for seed, state in zip(seeds, self.seeds, strict=True):
            seed.assign(state)
        return model

    def on_epoch_end(self, epoch, logs=None):
        self.history.append({"epoch": epoch + 1, **{key: float(value) for key, value in (logs or {}).items()}})
        # The record names its checkpoint and is replaced in one step, so the two always belong together. It
        # holds the seeds, which are in no file of Keras.
        self.checkpoint = f"epoch-{epoch + 1}.keras"
        replace(self.folder / self.checkpoint, self.model.save)
        self.seeds = [keras.ops.convert_to_numpy(seed).tolist() for seed in seeds_of(self.model)]
        self.write()
        self._remove_other_checkpoints()

    def write(self, **measures):
        """Write the record, with further measures."""
        self.measures |= measures
        record = {"settings": self.settings, "versions": versions(), "checkpoint": self.checkpoint}
        record |= {**self.measures, "history": self.history, "seeds": self.seeds}
        replace(self.folder / RECORD, lambda path: path.write_text(json.dumps(record, indent=1)))

    def _remove_other_checkpoints(self):
        for path in self.folder.glob("epoch-*.keras"):
            if path.name != self.checkpoint:
                path.unlink()


def seeds_of(model):
    """The variables that dropout, drop-connect and random mining draw from."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def versions():
    backend = keras.backend.backend()
    found = {"keras_epos": keras_epos.__version__, "keras": keras.__version__, "python": platform.python_version()}
    return found | {"backend": backend, backend: importlib.import_module(backend).__version__}
