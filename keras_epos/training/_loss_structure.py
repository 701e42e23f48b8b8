"""Which loss looks at which output of a model."""

import difflib
import warnings

import keras

from keras_epos.losses import EmbeddingLoss, WeightedSum
from keras_epos.losses._names import of_name


def resolved(loss, dims):
    """Losses as `keras.Model.compile` takes them, names of this library's replaced by objects.

    Args:
        loss: What `compile` was given: a loss, a name, a list or a dictionary of them, or `None`.
        dims: Dictionary of each output's name to the size of its last axis.

    Returns:
        The losses in the structure of `loss`, and a dictionary of output to `EmbeddingLoss`, of those that are ours.

    Raises:
        ValueError: If there is not one loss for each output that has one, or a name is no loss.
    """
    loss = keras.tree.map_structure(lambda one: of_name(one) if isinstance(one, str) else one, loss)
    by_output = {name: one for name, one in _by_output(loss, list(dims)).items() if isinstance(one, EmbeddingLoss)}
    if len({id(one) for one in by_output.values()}) < len(by_output):
        raise ValueError(
            f"`loss` must have an object of its own for each output of {list(by_output)}. Received: the same for "
            "several. Make one for each."
        )
    return loss, by_output


def _by_output(loss, names):
    if isinstance(loss, dict):
        unknown = [name for name in loss if name not in names]
        if unknown:
            near = difflib.get_close_matches(str(unknown[0]), names, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"`loss` must name outputs of the model, {names}. Received: {unknown[0]!r}.{hint}")
        return loss
    if isinstance(loss, (list, tuple)):
        if len(loss) == len(names):
            return dict(zip(names, loss, strict=True))
        if len(names) == 1:
            raise ValueError(
                f"`loss` must be one loss for the one output. Received: a list of {len(loss)}, of which Keras would "
                "train the first alone. Add them up: keras_epos.WeightedSum({name: loss, ...})."
            )
        raise ValueError(f"`loss` must have one loss for each output of {names}. Received: {len(loss)} losses")
    if len(names) > 1 and isinstance(loss, EmbeddingLoss):
        raise ValueError(
            f"`loss` must be a dictionary of output to loss for a model with the outputs {names}. Received: "
            f"{loss.name!r} for all of them."
        )
    return {names[0]: loss}


def warn_of_classification(metrics, by_output, names):
    """Warn of metrics that read class scores, on outputs where losses of this library alone look."""
    of_embeddings = [
        name for name, loss in by_output.items() if getattr(loss, "losses", {}) == getattr(loss, "own_losses", {})
    ]
    if len(names) > 1:
        of_ours = [metrics[name] for name in of_embeddings if name in metrics] if isinstance(metrics, dict) else []
    else:
        of_ours = metrics if of_embeddings else []
    for metric in keras.tree.flatten(of_ours):
        name = metric if isinstance(metric, str) else type(metric).__name__
        if name.lower() in ("acc", "ce") or "accuracy" in name.lower() or "crossentropy" in name.lower():
            warnings.warn(
                f"The metric {name!r} reads scores of classes, which embeddings are not: its value means nothing. Use "
                "the callback keras_epos.RecallAtK.",
                stacklevel=4,
            )


def reads_scores(loss):
    """Whether a loss of Keras looks at the output too."""
    return isinstance(loss, WeightedSum) and loss.own_losses != loss.losses
