"""The card of a run, beside its model: what it was trained on, how good it is, and when it says "unknown"."""

import json

from keras_epos.cli._files import replace
from keras_epos.serving import _card as cards

FILES = {
    "model.keras": "the model, which holds its image size",
    "gallery": "all photographs, to be searched: `keras-epos search model.keras gallery query.jpg`",
    "threshold.json": "the threshold with its curve, `keras_epos.Threshold.from_config`",
    "metrics.json": "settings, losses and Recall@1 of every epoch",
}


def write_card(folder, model, image_shape, embeddings, known, threshold):
    """Write `README.md` and `card.json`.

    Args:
        known: Dictionary with some of the boxes of the card, see `keras_epos.export`.
        threshold: One sentence or several lines.
    """
    facts = cards.facts(model, image_shape, embeddings, "", cards.checked(known), [])
    facts = {name: value for name, value in facts.items() if name not in ("checked_on", "files")}
    facts["threshold"] = threshold
    replace(folder / "card.json", lambda path: path.write_text(json.dumps(facts, indent=1) + "\n"))
    replace(folder / "README.md", lambda path: path.write_text(_markdown(facts, folder)))


def known_of(folder):
    """What the card of a run in a folder says that an export's card asks for, or nothing."""
    try:
        facts = json.loads((folder / "card.json").read_text())
        return {name: facts[name] for name in cards.BOXES if facts.get(name)}
    except (OSError, ValueError, AttributeError):
        return {}


def _markdown(facts, folder):
    height, width, _ = facts["input"]["shape"][1:]
    lines = [
        f"# {facts['model']}",
        "",
        f"From photographs to embeddings of {facts['embedding']['shape'][1]} numbers; a large cosine means alike.",
        "",
        "| | |",
        "|---|---|",
        f"| input | RGB from 0 to 255, {height} x {width} |",
        *cards.boxes(facts),
        '## When it says "unknown"',
        "",
        *facts["threshold"].splitlines(),
        "",
        "## Files",
        "",
        *(f"- `{name}`: {words}" for name, words in FILES.items() if (folder / name).exists()),
        "",
        *cards.versions(facts),
    ]
    return "\n".join(lines)
