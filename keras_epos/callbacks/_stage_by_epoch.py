"""StageByEpoch: moves a curriculum on."""

import keras

from keras_epos._config import KnownArguments


class StageByEpoch(KnownArguments, keras.callbacks.Callback):
    """Tells staged batches which epoch begins, so that they are those of its stage, and logs the stage.

    Keras knows the epoch, also after `initial_epoch` or `keras.callbacks.BackupAndRestore`; a data set does not. The
    logs get `stage`, from 0, for callbacks that stand after this one.

    Args:
        batches: `keras_epos.curriculum.StagedBatches`, the data set of the `fit`; or whatever has `start_epoch(epoch)`
            and `stage(epoch)`.

    Examples:
        >>> parts = keras_epos.curriculum.split(embeddings, labels)
        >>> batches = keras_epos.curriculum.StagedBatches(images, labels, parts, epochs=(1, 1, 1), batch_size=8)
        >>> history = model.fit(
        ...     batches, epochs=3, shuffle=False, callbacks=[keras_epos.StageByEpoch(batches)], verbose=0
        ... )
        >>> [int(stage) for stage in history.history["stage"]]
        [0, 1, 2]
    """

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.start_epoch(epoch)

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["stage"] = self.batches.stage(epoch)
