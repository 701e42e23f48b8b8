"""Looks at where a `fit` begins in a data set, and whether its epochs end."""

import warnings

import keras


class StreamWatch(keras.callbacks.Callback):
    """Compares the first epoch of a `fit` with the pass that the batches begin with.

    Keras's `BackupAndRestore` and `initial_epoch` tell `fit` where to go on, and the data set nothing.

    Args:
        passes: `passes` of a data set of `keras_epos.data`.

    Raises:
        ValueError: When training begins, if its first epoch would have no end.
    """

    # Nothing is changed, so the batches need not wait.
    async_safe = True

    def __init__(self, passes):
        super().__init__()
        self._passes = passes

    def on_train_begin(self, logs=None):
        self._has_looked = False
        if self._passes.endless and not self.params["steps"]:
            raise ValueError(
                "`steps_per_epoch` must be given to `fit` with an endless data set, whose first epoch has no end "
                "otherwise. Received: steps_per_epoch=None."
            )

    def on_epoch_begin(self, epoch, logs=None):
        passes = self._passes
        if self._has_looked:
            return
        self._has_looked = True
        if not passes.same_every_pass and passes.start_step == 0 and passes.number < epoch:
            advice = (
                "Put keras_epos.Resume(folder, batches) first among the callbacks, in place of BackupAndRestore, or "
                f"call batches.start_epoch({epoch}) before `fit`."
            )
            if passes.endless:
                advice = f"Make the data set with start_step={epoch * self.params['steps']}."
            warnings.warn(
                f"`fit` begins with epoch {epoch + 1}, and the data set with the batches of epoch {passes.number + 1}: "
                f"if this run goes on, they were drawn already. {advice}",
                stacklevel=2,
            )
