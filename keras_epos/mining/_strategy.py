"""What every strategy shares: its interface, its result and the choice of those that it prefers."""

from typing import NamedTuple

import keras
from keras import ops

from keras_epos._config import KnownArguments, constructor_arguments
from keras_epos._pairs import LOWEST


class Selection(NamedTuple):
    """The positives, or the negatives, that were chosen for every anchor. A strategy gives indices and mask.

    Attributes:
        indices: Rows of the references, `(A, K)` integers; `None` when column `j` is reference `j`, `K = R`.
        mask: `(A, K)` booleans; false where there was nothing to choose. What stands there means nothing.
        similarity: `(A, K)` floats in the metric of the loss, which fills them in; distances are negated, so more is
            nearer.
        paired: Whether column `j` was chosen for the positive in column `j`.
    """

    indices: object
    mask: object
    similarity: object = None
    paired: bool = False

    def of(self, per_reference):
        """Entries of an `(A, R)` matrix, or of one value for each reference `(R,)`, at the chosen: `(A, K)`."""
        if len(per_reference.shape) == 1:
            return per_reference[None, :] if self.indices is None else ops.take(per_reference, self.indices, axis=0)
        return per_reference if self.indices is None else ops.take_along_axis(per_reference, self.indices, axis=-1)


SIDES = ("positives", "negatives")


class Strategy(KnownArguments):
    """Base of the strategies. Arguments of `__init__` are attributes, so `get_config` is derived here once."""

    # How many references per anchor are chosen: a number, or `None` for all under the mask.
    count = 1
    # Whether the choice depends on the positive that was selected, one choice for each of them.
    relative = False
    # Whether the choice for an anchor depends on its own row alone, and is the same each time, as with a `preference`.
    # Large batches are then mined a strip of anchors at a time.
    is_by_anchor = False
    # What can be chosen so.
    sides = SIDES

    @property
    def has_preference(self):
        """Whether the choice follows from `preference` alone."""
        return type(self).select is Strategy.select

    def select(self, ease, mask, side, threshold=None, dim=None):
        """Choose references under `mask`.

        Args:
            ease: `(A, R)` floats without gradient; more is easier.
            mask: `(A, R)` booleans, the candidates.
            side: `"positives"` or `"negatives"`, what is chosen.
            threshold: `(A, K)` floats on the scale of `ease`, for strategies that are `relative`: the ease that a
                choice must exceed, `LOWEST` where there is no positive.
            dim: Number of dimensions of the embeddings, for strategies that weigh by distance; given with negatives
                that are not relative.

        Returns:
            `Selection`.
        """
        if not self.relative:
            return first(self.preference(ease, side), mask, self.count)
        # One for each of a few positives; where all are taken, they come one at a time.
        chosen = [
            first(self.preference(ease, side, threshold[:, i : i + 1]), mask, 1) for i in range(threshold.shape[-1])
        ]
        some = ops.concatenate([one.mask for one in chosen], axis=-1)
        return Selection(
            ops.concatenate([one.indices for one in chosen], axis=-1), ops.logical_and(some, threshold > LOWEST)
        )

    def preference(self, ease, side, threshold=None):
        """Which candidates are chosen: those of the largest numbers, and none of `LOWEST`. Or define `select`.

        Args:
            ease: Floats of any shape, without gradient; more is easier.
            side: `"positives"` or `"negatives"`, what is chosen.
            threshold: For strategies that are `relative`: floats that fit `ease`, which a choice must exceed.

        Returns:
            Floats of the shape of `ease`, each from its own entry of `ease` alone.
        """
        raise NotImplementedError(f"{type(self).__name__} must define preference() or select().")

    def adopt(self):
        """Take charge of the strategy's state: a list of what a model must track, empty for most."""
        return []

    def get_config(self):
        return constructor_arguments(self)

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __repr__(self):
        settings = ", ".join(f"{key}={value!r}" for key, value in self.get_config().items())
        return f"{type(self).__name__}({settings})"


def serializable(strategy):
    """Register a strategy under a stable name, for `.keras` files."""
    return keras.saving.register_keras_serializable(package="keras_epos")(strategy)


def first(values, mask, number):
    """The `number` largest values under `mask`; the lowest index wins a tie. Nothing is taken at `LOWEST`."""
    values = ops.where(mask, values, LOWEST)
    if number == 1:
        largest = ops.max(values, axis=-1, keepdims=True)
        return Selection(first_at(values, largest), largest > LOWEST)
    if keras.backend.backend() == "torch":
        # Its top_k breaks ties as it likes; its sort is stable.
        indices = ops.argsort(-values, axis=-1)[:, :number]
    else:
        available = values.shape[-1]
        # In a TensorFlow graph the size of a batch is not known before it runs.
        number = min(number, available) if available is not None else ops.minimum(number, ops.shape(values)[-1])
        _, indices = ops.top_k(values, number)
    return Selection(indices, ops.take_along_axis(values, indices, axis=-1) > LOWEST)


def first_at(values, largest, axis=-1):
    """The first place along an axis of the largest value there, which keeps its axis; the last one for NaN."""
    number = ops.shape(values)[axis]
    places = ops.arange(number, dtype="int32")
    places = places[None, :] if axis == -1 else places[:, None]
    # Two passes with that for the largest, which XLA does with vectors; its argmax takes longer than both.
    return ops.min(ops.where(values == largest, places, number - 1), axis=axis, keepdims=True)
