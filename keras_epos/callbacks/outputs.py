"""Which output of a model is the embedding."""

import difflib

import keras
import numpy as np


def embeddings_of(model, outputs, output):
    """The embeddings among what `model` returned.

    Args:
        model: Tells the names of its outputs, if it knows them.
        outputs: What `predict` returned: an array, or a dictionary, list or tuple of arrays.
        output: Key, name or place of the embedding in `outputs`; `None` for a model of one output.

    Returns:
        Array `(N, D)`.

    Raises:
        ValueError: when there is no such output, it is not `(N, D)`, or one of several must be chosen.
    """
    choices = _choices(model, outputs)
    if output is None and not hasattr(outputs, "shape"):
        raise ValueError(
            f"`output` must say which output of the model is the embedding. Received: output=None and outputs "
            f"{_shapes(outputs)}. Pass one of {_listed(choices)}."
        )
    if output is None:
        chosen = outputs
    elif output in choices and not isinstance(output, bool):
        chosen = choices[output]
    else:
        near = difflib.get_close_matches(str(output), [str(choice) for choice in choices], n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"`output` must be one of the model's outputs, {_listed(choices)}. Received: output={output!r}.{hint}"
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


def _choices(model, outputs):
    """Outputs by all that they may be called: keys, names in the model, and places."""
    names = getattr(model, "output_names", None) or []
    if isinstance(outputs, dict):
        return dict(outputs)
    parts = [outputs] if hasattr(outputs, "shape") else list(outputs)
    names = getattr(outputs, "_fields", names if len(names) == len(parts) else [])
    return {**dict(zip(names, parts, strict=False)), **dict(enumerate(parts))}


def _listed(choices):
    return ", ".join(repr(choice) for choice in choices)


def _shapes(outputs):
    return keras.tree.map_structure(np.shape, outputs)
