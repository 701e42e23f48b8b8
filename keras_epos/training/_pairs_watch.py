"""Says once, in words, that a run has nothing to learn from, or a validation set nothing to measure."""

import math
import warnings

import keras
import numpy as np

from keras_epos._labels import refuse_cut_labels

# Share of the anchors that must take part in an epoch for nothing to be said.
FEW = 0.1
NEEDS = "A pair loss needs two samples of a class and one of another in each batch"


class PairsWatch(keras.callbacks.Callback):
    """Reads `valid_anchors` in the logs: the share of the anchors that have a positive and a negative.

    Args:
        labels: Array of all labels where there is one, to be counted in the message.
    """

    # Nothing is changed, so the batches need not wait.
    async_safe = True

    def __init__(self, labels=None):
        super().__init__()
        self._labels = labels
        self._has_seen_a_batch = False
        self._said = set()

    def on_train_batch_end(self, batch, logs=None):
        if not self._has_seen_a_batch:
            self._has_seen_a_batch = True
            self._look(logs, "The first batch", 0)

    def on_epoch_end(self, epoch, logs=None):
        self._look({key: value for key, value in logs.items() if not key.startswith("val_")}, "The epoch", FEW)

    def on_test_end(self, logs=None):
        for name, share in shares(logs).items():
            if not share > 0:
                self._say(
                    "test",
                    f"The data to evaluate on holds no anchor that takes part ({name} is 0), so its loss is NaN: "
                    f"nothing was measured. {NEEDS}: shuffle samples that are sorted by class, take larger batches or "
                    "keras_epos.data.balanced_batches. For a figure on all samples use keras_epos.RecallAtK.",
                )

    def _look(self, logs, what, least):
        for name, share in shares(logs).items():
            if not share > least:
                part = "no anchor" if share == 0 else f"{share:.1%} of the anchors"
                self._say(
                    "train",
                    f"{what} has {part} that takes part ({name}){self._counted()}: next to nothing to learn. {NEEDS}: "
                    "use keras_epos.data.balanced_batches, or shuffle samples that are sorted by class.",
                )

    def _counted(self):
        if self._labels is None or self._labels.ndim != 1:
            return ""
        return f"; {len(self._labels)} labels, {len(np.unique(self._labels))} classes in all"

    def _say(self, where, message):
        if where not in self._said:
            self._said.add(where)
            warnings.warn(message, stacklevel=2)


def shares(logs):
    """The entries of logs that tell which share of the anchors takes part."""
    named = {key: value for key, value in (logs or {}).items() if key.endswith("valid_anchors")}
    return {key: value for key, value in named.items() if not math.isnan(value)}


def watched(callbacks, targets=None):
    """Callbacks of `fit` or `evaluate`, with a `PairsWatch` among them."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        if not any(isinstance(one, PairsWatch) for one in callbacks.callbacks):
            callbacks.append(PairsWatch())
        return callbacks
    labels = targets if isinstance(targets, np.ndarray) else None
    return [*keras.tree.flatten(callbacks or []), PairsWatch(labels)]


def refuse_cut_targets(targets):
    """Refuse arrays of labels of which the backend would keep the low bits alone, before it does so."""
    for one in keras.tree.flatten(targets):
        if isinstance(one, np.ndarray):
            refuse_cut_labels(one)
