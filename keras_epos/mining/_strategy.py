"""What every strategy shares: its interface, its result and the choice of the first few."""

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
    # Whether the choice for an anchor depends on its own row alone, and is the same each time. Large batches are then
    # mined a strip of anchors at a time.
    is_by_anchor = False
    # What can be chosen so.
    sides = SIDES

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
        raise NotImplementedError(f"{type(self).__name__} must define select().")

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
    """The `number` largest values under `mask`; the lowest index wins a tie."""
    values = ops.where(mask, values, LOWEST)
    if number == 1:
        return first_at(values, mask, ops.max(values, axis=-1, keepdims=True))
    if keras.backend.backend() == "torch":
        # Its top_k breaks ties as it likes; its sort is stable.
        indices = ops.argsort(-values, axis=-1)[:, :number]
    else:
        available = values.shape[-1]
        # In a TensorFlow graph the size of a batch is not known before it runs.
        number = min(number, available) if available is not None else ops.minimum(number, ops.shape(values)[-1])
        _, indices = ops.top_k(values, number)
    return Selection(indices, ops.take_along_axis(mask, indices, axis=-1))


def first_at(values, mask, largest):
    """The first place under `mask` of the largest value there, `(A, 1)`; of a value that no place has nothing."""
    columns = ops.arange(ops.shape(values)[-1], dtype="int32")[None, :]
    # Two passes with that for the largest, which XLA does with vectors; its argmax takes longer than both.
    last = ops.shape(values)[-1] - 1
    found = ops.where(ops.logical_and(mask, values == largest), columns, last)
    indices = ops.min(found, axis=-1, keepdims=True)
    return Selection(indices, ops.take_along_axis(mask, indices, axis=-1))
