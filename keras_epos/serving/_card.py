"""The model card: what a model is, what it was made of, and how each of its files answers."""

import dataclasses
import json
import platform
from importlib import metadata

import keras
import numpy as np

from keras_epos._checks import one_of
from keras_epos.gallery._fingerprint import fingerprint_of
from keras_epos.serving._report import HEADINGS, Row

# What only the caller knows, and what stands in the card where nothing was passed.
BOXES = {
    "data": "what the model was trained on",
    "classes": "what its classes are, and how many",
    "training": "how it was trained",
    "figures": "how good it is, with intervals",
    "license_of_weights": "the license of the weights",
    "license_of_data": "the license of the data",
}
PACKAGES = ("keras-epos", "keras", "numpy", "tensorflow", "tensorflow-cpu", "jax", "torch")


def checked(card):
    """A copy of what the caller passed for the card.

    Raises:
        ValueError: for a key that the card does not have, and for what is no dictionary or no JSON.
    """
    if card is None:
        return {}
    if not isinstance(card, dict):
        raise ValueError(f"`card` must be a dictionary with some of {list(BOXES)}. Received: card={card!r}.")
    for key in card:
        one_of("card", key, BOXES)
    try:
        return json.loads(json.dumps(card))
    except TypeError as error:
        raise ValueError(
            f"`card` must hold texts, numbers, lists and dictionaries. Received: card={card!r} ({error})."
        ) from error


def facts(model, image_shape, embeddings, checked_on, card, rows):
    """What the card says, as a dictionary for `card.json`.

    Args:
        image_shape: `(height, width, channels)`.
        embeddings: `(N, dim)`, those of the model.
        checked_on: One sentence: the photographs that the rows were checked on.
        card: From `checked`.
        rows: Of the report.
    """
    return {
        "model": model.name,
        "input": {"dtype": "float32", "shape": [None, *image_shape]},
        "embedding": {"dtype": "float32", "shape": [None, int(embeddings.shape[1])]},
        "fingerprint": fingerprint_of(model),
        "parameters": int(sum(np.prod(weight.shape) for weight in model.weights)),
        **{key: card.get(key) for key in BOXES},
        "training": card.get("training") or training(model),
        "checked_on": checked_on,
        "files": [{key: _json(value) for key, value in dataclasses.asdict(row).items()} for row in rows],
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _json(value):
    """The value, or None for NaN and infinity, which JSON does not have."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


def training(model):
    """Optimizer, steps and loss that the model still knows, or None."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return None
    return {
        "optimizer": _settings(optimizer),
        "steps": int(optimizer.iterations.numpy()),
        "loss": _settings(getattr(model, "loss", None)),
    }


def _settings(thing):
    """The name of a configured object with those of its arguments that are plain values."""
    if thing is None or isinstance(thing, str):
        return thing
    if isinstance(thing, dict):
        return {str(key): _settings(part) for key, part in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [_settings(part) for part in thing]
    if not hasattr(thing, "get_config"):
        return getattr(thing, "__name__", type(thing).__name__)
    plain = {key: value for key, value in thing.get_config().items() if isinstance(value, (bool, int, float, str))}
    # Learning rates come from float32, as 0.0010000000474974513.
    config = {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in plain.items()}
    return {"class": type(thing).__name__, **config}


def _versions():
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "backend": keras.backend.backend()}


def markdown(facts):
    """The text of `README.md` from what `facts` returned."""
    height, width, channels = facts["input"]["shape"][1:]
    kind = {1: "gray", 3: "RGB"}.get(channels, f"{channels} channels")
    lines = [
        f"# {facts['model']}",
        "",
        f"Maps images to embeddings of {facts['embedding']['shape'][1]} numbers; what is alike has a large cosine.",
        "",
        "| | |",
        "|---|---|",
        f"| input | float32 (batch, {height}, {width}, {channels}): height, width, {kind} |",
        f"| embedding | float32 (batch, {facts['embedding']['shape'][1]}) |",
        *boxes(facts),
        "## Files",
        "",
        f"Each was checked in its own engine right after it was written, against Keras, on {facts['checked_on']}.",
        "",
        f"| {' | '.join(HEADINGS)} |",
        "|" + "---|" * len(HEADINGS),
        *(f"| {' | '.join(_cells(row))} |" for row in facts["files"]),
        "",
        "`1 - cosine` is the largest difference of direction between an embedding and that of the model in Keras.",
        "",
        *versions(facts),
    ]
    return "\n".join(lines)


def boxes(facts):
    """Lines: the rows of the table that are no sizes, and what is to be filled in."""
    return [
        f"| parameters | {facts['parameters']:,} |",
        *(f"| {key.replace('_', ' ')} | {_shown(key, facts[key])} |" for key in BOXES if facts[key]),
        "",
        *(f"- [ ] To be filled in: {what}." for key, what in BOXES.items() if not facts[key]),
        "",
    ]


def versions(facts):
    """Lines: the end of a card."""
    return ["## Versions", "", ", ".join(f"{name} {version}" for name, version in facts["versions"].items()), ""]


def _cells(row):
    cells = Row(**row).cells()
    return [*cells[:2], *[""] * (len(HEADINGS) - 3), cells[2]] if len(cells) < len(HEADINGS) else cells


def _shown(key, value):
    """A value of the card on one line. A figure may be a number or a number with its interval."""
    if key == "figures" and isinstance(value, dict):
        return ", ".join(f"{name} {_figure(figure)}" for name, figure in value.items())
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_shown('', part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(_shown("", part) for part in value)
    return " ".join(str(value).split()).replace("|", "\\|")


def _figure(figure):
    if isinstance(figure, list) and len(figure) == 3:
        return f"{figure[0]:.4g} ({figure[1]:.4g} to {figure[2]:.4g})"
    return f"{figure:.4g}" if isinstance(figure, (int, float)) else _shown("", figure)
