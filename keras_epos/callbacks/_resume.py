"""Resume: a run that was killed goes on as if nothing had been."""

import json

import keras

from keras_epos._config import KnownArguments
from keras_epos.callbacks import _random_numbers, _run_state
from keras_epos.callbacks._baseline import has_stepped
from keras_epos.callbacks._checkpoints import Checkpoints
from keras_epos.callbacks._neighbors import callbacks_around


class Resume(KnownArguments, keras.callbacks.Callback):
    """Keeps a run in a folder, and goes on with it when the same program is started again.

        batches = keras_epos.data.balanced_batches(images, labels, 8, 4)
        recall = keras_epos.RecallAtK(test_images, test_labels)
        model.fit(batches, epochs=20, callbacks=[keras_epos.Resume("run", batches), recall])

    A program that is killed at any moment, and started again, ends with the result that it would have had: the same
    batches in the same order, the same weights and history. What an unfinished epoch had done is done once more. After
    the last epoch nothing is trained, and `fit` returns the whole history. A second `fit` needs a folder of its own.

    `keras.callbacks.BackupAndRestore` writes the weights, those of the losses (proxies, memories, class trees) and the
    optimizer. This adds what it leaves out:

    - the batches go on where they were, by `batches.start_epoch(epoch)`;
    - the seeds of dropout, augmentation layers and random mining, which are in no file of Keras, and the generators of
      Python, NumPy and PyTorch;
    - what callbacks know: `RecallAtK`, `FrozenBaseline`, `BestInterpolation`, `CollapseMonitor`, `HierarchyRebuild`,
      and Keras's `EarlyStopping`, `ReduceLROnPlateau`, `ModelCheckpoint`, `SwapEMAWeights` and `History`. One of your
      own names the attributes that are to be kept in `run_state`, a tuple of strings;
    - checkpoints that appear whole or not at all, the last two, each with the SHA-256 of its files. Where the last one
      is damaged a warning says so, and the one before is taken.

    It must stand first among the callbacks: it restores before the others begin, and writes after all of them, when the
    next epoch begins. Only whole epochs are kept, so give long ones fewer `steps`. What draws from
    TensorFlow's own generator, as the shuffle of arrays in `fit` does, begins anew; on several threads a sum may come
    out in another order, as it may in the same run twice.

    Args:
        folder: Of the run, made where it is not there. A checkpoint in it can be read by
            `keras.callbacks.BackupAndRestore(checkpoint)` too.
        batches: The data set of the `fit`, as `keras_epos.data.balanced_batches` and `batches` or
            `keras_epos.curriculum.StagedBatches` made it, before `map` and its kin; or what else has
            `start_epoch(epoch)`. `None` for data that come in the same order in every epoch, such as arrays with
            `shuffle=False`.

    Attributes:
        folder: The folder.

    Raises:
        ValueError: If an argument is none of these; and when training begins, if the folder holds another run, or only
            checkpoints that are damaged, this is not the first callback, epochs are not passes of `batches`, or the
            model is not built.

    Examples:
        >>> folder = tempfile.mkdtemp()
        >>> batches = keras_epos.data.balanced_batches(images, labels, 4, 4)
        >>> resume = keras_epos.Resume(folder, batches)
        >>> history = model.fit(batches, epochs=2, callbacks=[resume], verbose=0)
        >>> sorted(os.listdir(folder))
        ['epoch-00001', 'epoch-00002']
    """

    def __init__(self, folder, batches):
        super().__init__()
        if batches is not None and not hasattr(batches, "start_epoch"):
            raise ValueError(
                "`batches` must be a data set of keras_epos.data.balanced_batches or batches, what has "
                f"start_epoch(epoch), or None. Received: a {type(batches).__name__}. For a data set that was mapped "
                'pass the one it was made of; one of engine="grain" begins anew and cannot go on.'
            )
        self._checkpoints = Checkpoints(folder)
        self.folder, self.batches = self._checkpoints.folder, batches
        self._description, self._restored, self._done, self._has_begun = None, None, None, False

    def on_train_begin(self, logs=None):
        self._restored, self._done, self._has_begun = None, None, False
        self._check_place()
        if not self.model.built:  # what is written then cannot be restored
            raise ValueError(
                "`model` must be built before `fit`, so that its weights can be restored. Received: "
                f"{self.model.name}, without weights so far. Give it a keras.Input, or call model.build(input_shape)."
            )
        self._description = described(self.model, self.batches)
        self._check_steps()
        checkpoint = self._checkpoints.newest()
        if checkpoint is None:
            return
        kept = _run_state.read(checkpoint)
        if changed := differences(kept["description"], self._description):
            raise ValueError(
                f"`folder` must be new, or hold this run. Received: {self.folder}, a run with another "
                f"{', '.join(changed[:3])}. Take another folder, or remove it to begin anew."
            )
        backup = keras.callbacks.BackupAndRestore(str(checkpoint))
        backup.set_model(self.model)
        backup.on_train_begin()
        epochs = self.params["epochs"]
        if kept["stopped"] and kept["epochs"] == epochs:  # by a callback: no epoch is left
            self.model._initial_epoch = epochs
        # Some look at what they know when training begins, and some forget it then.
        self._restored = kept
        _run_state.restore(callbacks_around(self), kept["callbacks"])
        print(f"\nResume: {self.folder} goes on after epoch {kept['done']} of {epochs}.")

    def on_epoch_begin(self, epoch, logs=None):
        if not self._has_begun:
            self._begin()
        else:
            self._write(stopped=False)
        if self.batches is not None:
            self.batches.start_epoch(epoch)

    def on_epoch_end(self, epoch, logs=None):
        self._done = epoch + 1

    def on_train_end(self, logs=None):
        if not self._has_begun:
            self._begin()
        else:
            self._write(stopped=bool(self.model.stop_training))

    def _begin(self):
        """After all callbacks have begun."""
        self._has_begun = True
        # Where `BackupAndRestore` leaves the epoch for `fit`; a later `fit` of the model would begin there too.
        self.model._initial_epoch = None
        if self._restored is not None:
            _run_state.restore(callbacks_around(self), self._restored["callbacks"])
            _random_numbers.restore(self.model, self._restored["random numbers"])

    def _write(self, stopped):
        def save(path):
            backup = keras.callbacks.BackupAndRestore(str(path))
            backup.set_model(self.model)
            backup.on_epoch_end(self._done - 1)
            state = {
                "done": self._done,
                "epochs": self.params["epochs"],
                "stopped": stopped,
                "description": self._description,
                "random numbers": _random_numbers.state(self.model),
                "callbacks": _run_state.states(callbacks_around(self)),
            }
            _run_state.write(path, state)

        self._checkpoints.write(self._done, save)

    def _check_place(self):
        others = callbacks_around(self)
        if others and others[0] is not self:
            raise ValueError(
                "`callbacks` must begin with Resume, which restores before the others begin. Received: "
                f"{', '.join(type(other).__name__ for other in others[: others.index(self) + 1])}."
            )

    def _check_steps(self):
        """An epoch that is part of a pass would begin in the middle of one."""
        steps = (self.params or {}).get("steps")
        about = self._description["batches"] or {}
        own = about.get("steps")
        if own is None and "steps" in about:
            raise ValueError(
                "`batches` must have an end, as each epoch is a pass of them. Received: an endless data set. Leave "
                "`steps_per_epoch` out, and give the data set the steps of an epoch."
            )
        if steps is not None and own is not None and steps != own:
            raise ValueError(
                f"`batches` must have the steps of an epoch. Received: {own} steps, and {steps} in `fit`. Leave "
                f"`steps_per_epoch` out, and give the data set steps={steps}."
            )


def described(model, batches):
    """What a run depends on, as far as a callback can see, in plain JSON."""
    found = {
        "backend": keras.backend.backend(),
        "weights": [f"{weight.dtype}{list(weight.shape)}" for weight in model.weights],
        "loss": _config(model.loss),
        # Of an optimizer that has made steps the learning rate may have been changed on the way.
        "optimizer": None if has_stepped(model) else _config(model.optimizer),
        "batches": batches.describe() if hasattr(batches, "describe") else None,
    }
    return json.loads(json.dumps(found))


def _config(part):
    """The Keras configuration of a loss or an optimizer, without names, which count up; what has none, by its class."""
    try:
        return json.loads(json.dumps(_nameless(keras.saving.serialize_keras_object(part))))
    except (TypeError, ValueError, NotImplementedError):
        return type(part).__name__


def _nameless(config):
    if isinstance(config, dict):
        return {key: _nameless(value) for key, value in config.items() if key != "name"}
    if isinstance(config, (list, tuple)):
        return [_nameless(value) for value in config]
    return config


def differences(was, now, name=""):
    """A phrase for each value that differs; what one of both does not know does not count."""
    if isinstance(was, dict) and isinstance(now, dict):
        return [
            phrase
            for key in {**was, **now}
            for phrase in differences(was.get(key), now.get(key), f"{name}.{key}" if name else key)
        ]
    if was == now or was is None or now is None:
        return []
    return [f"{name} ({_short(now)}, was {_short(was)})"]


def _short(value):
    text = str(value)
    return text if len(text) < 60 else f"{text[:57]}..."
