"""Which output of a model is meant."""

import difflib

# What is meant of several outputs where nothing else is said.
EMBEDDING = "embedding"


def choose(model, outputs, output):
    """The one of a model's outputs that `output` names, by its key, its name in the model, or its place.

    Args:
        model: Tells the names of its outputs, if it knows them.
        outputs: What it returned: a tensor, or a dictionary, list or tuple of tensors.
        output: Which; `None` for the one called `"embedding"`, or `outputs` as they are where none is.

    Raises:
        ValueError: If there is no such output.
    """
    if output is None and hasattr(outputs, "shape"):
        return outputs
    choices = by_name(model, outputs)
    if output is None:
        return choices.get(EMBEDDING, outputs)
    if output in choices and not isinstance(output, bool):
        return choices[output]
    near = difflib.get_close_matches(str(output), [str(choice) for choice in choices], n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"`output` must be one of the model's outputs, {listed(choices)}. Received: output={output!r}.{hint}"
    )


def by_name(model, outputs):
    """Outputs by all that they may be called: keys, names in the model, and places."""
    if isinstance(outputs, dict):
        return dict(outputs)
    parts = [outputs] if hasattr(outputs, "shape") else list(outputs)
    names = getattr(model, "output_names", None) or []
    names = getattr(outputs, "_fields", names if len(names) == len(parts) else [])
    return {**dict(zip(names, parts, strict=False)), **dict(enumerate(parts))}


def listed(choices):
    return ", ".join(repr(choice) for choice in choices)
