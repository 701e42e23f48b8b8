"""CollapseMonitor: tells when a run is collapsing."""

import warnings

import keras

from keras_epos import collapse
from keras_epos._checks import integer, number
from keras_epos._config import KnownArguments
from keras_epos.callbacks._neighbors import check_neighbors, check_prefix
from keras_epos.callbacks._one_point import BATCH_NORMALIZATION, NUM_TRIED, differs_in_training_mode
from keras_epos.callbacks._outputs import check_output
from keras_epos.callbacks._sources import copied, embed, source
from keras_epos.collapse._spread import check_classes

LOGGED = ("intra_inter_ratio", "effective_rank", "coinciding")
# Mean cosine distances below this, inside classes and between them: all embeddings are one point.
ONE_POINT = 2.5e-5
LOGGED_MODES = ("mode_recall@1", "cross_mode_distance")


class CollapseMonitor(KnownArguments, keras.callbacks.Callback):
    """Logs measures of collapse after an epoch, and warns once, in plain words, when a run is collapsing.

    A run is collapsing when one of these holds after a measurement:

        the loss is within 1 % of its margin for two measured epochs   a triplet loss of equal distances
        most samples lie on another of their class (closer than 1e-3)  classes have become points
        the effective rank fell below `rank_share` of what it was      directions are being lost

    With clean labels and one look a class the last two may be what you want: then raise the limits or let it log.

    Args:
        images: What the model takes, as an array `(N, ...)`, or finite batches; see `RecallAtK`.
        labels: Integers or strings `(N,)`: the classes; `None` when the batches bring them.
        modes: Integers or strings `(N,)`: the looks that the classes hide, or `None`. They are only measured.
        output: Which output of the model is the embedding, when it has several; see `RecallAtK`.
        batch_size: Images embedded at once, when they come as arrays.
        prefix: Put before the names in the logs.
        every: Epochs from one measurement to the next; between, the last values are repeated.
        rank_share: Limit of the effective rank, from 0 to 1, as a share of that before training.
        stop_training: Whether the run ends with the epoch that gave the warning.

    Attributes:
        history: A dictionary for each measurement: `"epoch"` (from 0) and what `keras_epos.collapse.measure` returns.
        initial: The same before training.
        reason: Why the run is collapsing, in words, or `None`.

    Raises:
        ValueError: as `RecallAtK` does, and for limits out of range.

    Examples:
        >>> monitor = keras_epos.CollapseMonitor(images, labels)
        >>> history = model.fit(images, labels, callbacks=[monitor], verbose=0)
        >>> "intra_inter_ratio" in monitor.history[-1]
        True
    """

    # What `Resume` keeps.
    run_state = ("history", "initial", "reason", "_logs", "_epochs_at_margin")

    def __init__(
        self,
        images,
        labels=None,
        modes=None,
        *,
        output=None,
        batch_size=128,
        prefix="val_",
        every=1,
        rank_share=0.25,
        stop_training=False,
    ):
        super().__init__()
        integer("every", every, 1)
        integer("batch_size", batch_size, 1)
        check_output(output)
        check_prefix(prefix)
        number("rank_share", rank_share, "[0, 1]")
        self.modes = None if modes is None else copied(modes)
        self.output = output
        self.prefix = prefix
        self.every = every
        self.rank_share = rank_share
        self.stop_training = stop_training
        self.history = []
        self.initial = None
        self.reason = None
        self._source = source("images", images, labels, batch_size)
        self._logs = None
        self._epochs_at_margin = 0
        if self._source.labels is not None:
            check_classes(self._source.labels, self.modes)

    def measure(self, model):
        """What `keras_epos.collapse.measure` returns for the embeddings of `model`."""
        return collapse.measure(*embed(model, self._source, self.output), self.modes)

    def on_train_begin(self, logs=None):
        self._logs = None
        self._epochs_at_margin = 0
        check_neighbors(self, {self.prefix + name for name in self._logged()}, more_is_better=False)
        if self.initial is None:
            self.initial = self.measure(self.model)

    def on_epoch_end(self, epoch, logs=None):
        logs = {} if logs is None else logs
        is_last = epoch + 1 == (self.params or {}).get("epochs")
        if self._logs is None or is_last or (epoch + 1) % self.every == 0:
            values = self.measure(self.model)
            self.history.append({"epoch": epoch, **values})
            self._logs = {self.prefix + name: values[name] for name in self._logged()}
            if self.reason is None:
                self._judge(epoch, values, logs.get("loss"))
        logs.update(self._logs)

    def _logged(self):
        return LOGGED if self.modes is None else LOGGED + LOGGED_MODES

    def _judge(self, epoch, values, loss):
        reasons = [*self._at_margin(loss), *self._lost(values)]
        if not reasons:
            return
        self.reason = " and ".join(reasons)
        end = " Training stops here." if self.stop_training else ""
        warnings.warn(
            f"The embedding is collapsing (epoch {epoch + 1}): {self.reason}. {self._advice(values)}{end}", stacklevel=2
        )
        if self.stop_training:
            self.model.stop_training = True

    def _advice(self, values):
        if max(values["intra_distance"], values["inter_distance"]) < ONE_POINT and differs_in_training_mode(
            self.model, self._source.sample(NUM_TRIED), self.output
        ):
            return f"All embeddings are one point; {BATCH_NORMALIZATION}."
        easy = (
            ""
            if self._has_easy_positives()
            else 'easy positives (positives="easy") with 4 or more samples of a class, '
        )
        return f'Try {easy}easier negatives ("semi_hard"), a smaller learning rate, or look for wrong labels.'

    def _has_easy_positives(self):
        parts = keras.tree.flatten(getattr(self.model, "loss", None))
        parts += [inner for part in parts for inner in getattr(part, "losses", {}).values()]
        return any(type(getattr(part, "positives", None)).__name__ == "Easy" for part in parts)

    def _at_margin(self, loss):
        margin = getattr(getattr(self.model, "loss", None), "margin", None)
        is_triplet = getattr(self.model.loss, "has_triplets", False) and isinstance(margin, (int, float))
        is_at_margin = is_triplet and loss is not None and abs(loss - margin) <= 0.01 * margin
        self._epochs_at_margin = self._epochs_at_margin + 1 if is_at_margin else 0
        if self._epochs_at_margin >= 2:
            yield f"the loss stays at its margin of {margin:g}, which it has when all distances are equal"

    def _lost(self, values):
        if values["coinciding"] > 0.5:
            yield f"{values['coinciding']:.0%} of the samples lie on another one of their class"
        rank, before = values["effective_rank"], self.initial["effective_rank"]
        if rank < self.rank_share * before:
            yield f"the embeddings use {rank:.1f} directions instead of {before:.1f} when the run began"
