"""Which output of a model is the embedding."""

import keras
import numpy as np

from keras_epos._outputs import by_name, choose, listed


def embeddings_of(model, outputs, output):
    """The embeddings among what `model` returned.

    Args:
        model: Tells the names of its outputs, if it knows them.
        outputs: What `predict` returned: an array, or a dictionary, list or tuple of arrays.
        output: Key, name or place of the embedding in `outputs`; `None` for a model of one output, or for the one that
            is called `"embedding"`.

    Returns:
        Array `(N, D)`.

    Raises:
        ValueError: when there is no such output, it is not `(N, D)`, or one of several must be chosen.
    """
    chosen = choose(model, outputs, output)
    if not hasattr(chosen, "shape"):
        raise ValueError(
            f"`output` must say which output of the model is the embedding. Received: output=None and outputs "
            f"{_shapes(outputs)}. Pass one of {listed(by_name(model, outputs))}."
        )
    if getattr(chosen, "ndim", None) != 2:
        of = "" if output is None else f" in output {output!r}"
        raise ValueError(
            f"`model` must return one embedding (batch, dim). Received: {_shapes(chosen)}{of}. Add a pooling or dense "
            "layer."
        )
    return chosen


def check_output(output):
    if output is not None and (isinstance(output, bool) or not isinstance(output, (str, int, np.integer))):
        raise ValueError(f"`output` must be the name or the place of an output, or None. Received: output={output!r}.")


def _shapes(outputs):
    return keras.tree.map_structure(np.shape, outputs)
