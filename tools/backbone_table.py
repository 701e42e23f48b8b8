"""Write the table of docs/backbones.md: what every family of image backbones of keras_hub is in this library.

    python tools/backbone_table.py

Nothing is downloaded: each family is built from its smallest configuration with random weights, that of the tests, is
adapted with `lora=8` and exported to every format on the backend that `KERAS_BACKEND` names, TensorFlow by default. It
takes some minutes, and needs `pip install keras-epos[hub,onnx,openvino,litert]`.
"""

import os
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "training")]

import keras
import keras_hub
import numpy as np
from hub_cases import families

import keras_epos
from keras_epos.training import hub_backbone
from keras_epos.training._attention import attention_projections
from keras_epos.training._pooling import POOLINGS, TOKEN_POOLINGS

RANK = 8
FORMATS = {"savedmodel": "SavedModel", "onnx": "ONNX", "openvino": "OpenVINO", "litert": "LiteRT"}
BEGIN, END = "<!-- made by `python tools/backbone_table.py` -->", "<!-- end of what it makes -->"
HEAD = """| family | feature without `pooling` | other poolings | preprocessing | adapters stand beside | trained with `lora=8` | depths | exports |
|---|---|---|---|---|---|---|---|"""
# What is known of exports that fail, by what their error says.
REASONS = {
    "Erfc": "tf2onnx has no `Erfc`, of which Keras makes the exact GELU on TensorFlow",
    "INVALID_GRAPH": "tf2onnx leaves an operation of TensorFlow in the graph, which ONNX Runtime does not know",
    "missing from input feed": "tf2onnx makes a constant of the network an input of the graph",
    "FusedMatMul": "ONNX Runtime cannot multiply what tf2onnx makes of its attention",
}
WORDS = {"class": "class token", "mean": "mean", "head": "attention head", "projection": "projected class token"}


def main():
    warnings.simplefilter("ignore")
    rows, failures = [], {}
    for family, build in families(keras_hub.models).items():
        cells, failed = row(family, build)
        rows.append("| " + " | ".join(cells) + " |")
        for failure in failed:
            failures.setdefault(failure, []).append(family)
        print(rows[-1], flush=True)
    page = ROOT / "docs" / "backbones.md"
    text = page.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    notes = "\n".join(f"- No {title} of {', '.join(of)}: {reason}." for (title, reason), of in failures.items())
    page.write_text(f"{before}{BEGIN}\n\n" + "\n".join([HEAD, *rows]) + f"\n\n{notes}\n\n{END}{after}")


def row(family, build):
    """The cells of a family, and `(format, reason)` for each export that failed."""
    keras.utils.set_random_seed(0)
    model = keras_epos.EmbeddingModel(features(build), 4)
    report, failed = exported(model), []
    for name, title in FORMATS.items():
        if not report[name].path:
            reason = report[name].reason
            failed.append((title, next((words for key, words in REASONS.items() if key in reason), reason)))
    projections, trained = adapted(build)
    cells = [
        family,
        own_feature(build),
        ", ".join(f'`"{pooling}"`' for pooling in poolings(build)),
        converter(build),
        projections,
        trained,
        str(len(model.depth_groups())),
        ", ".join(title for name, title in FORMATS.items() if report[name].path) or "none",
    ]
    return cells, failed


def features(build, pooling=None):
    return hub_backbone(build(), pooling=pooling, preprocessing=keras.layers.Rescaling(1 / 127.5, -1))


def own_feature(build):
    """What the last layer of the backbone says about its feature, in words."""
    network = build()
    if hasattr(network, "get_vision_embeddings"):
        return WORDS["projection" if hasattr(network, "vision_projection") else "head"]
    last = features(build).layers[-1]
    return WORDS[getattr(last, "tokens", "mean")]


def poolings(build):
    found = []
    for pooling in dict.fromkeys((*TOKEN_POOLINGS, *POOLINGS)):
        try:
            features(build, pooling)
        except ValueError:
            continue
        found.append(pooling)
    return found


def converter(build):
    """The class of keras_hub that knows the scale of the family's images; it is made of presets."""
    kind = type(build())
    of_family = [
        name
        for name in dir(keras_hub.layers)
        if name.endswith("ImageConverter") and getattr(getattr(keras_hub.layers, name), "backbone_cls", None) is kind
    ]
    return f"`{of_family[0]}`" if of_family else "`ImageConverter`"


def adapted(build):
    """Where adapters stand, and how many weights are trained of how many."""
    backbone = features(build)
    names = sorted({attribute(backbone, layer) for layer in attention_projections(backbone)})
    try:
        model = keras_epos.EmbeddingModel(backbone, 4, lora=RANK)
    except ValueError:
        return "none", "refused"
    trained = sum(int(np.prod(one.shape)) for one in model.backbone.trainable_variables)
    of_all = sum(int(np.prod(one.shape)) for one in model.merged().backbone.weights)
    return ", ".join(f"`{name}`" for name in names), f"{trained:,} beside {of_all:,}"


def attribute(backbone, layer):
    """What the owner of a projection calls it."""
    for owner in backbone._flatten_layers():
        for name, part in {**vars(owner), **vars(owner).get("_modules", {})}.items():
            if part is layer:
                return name.lstrip("_")
    return layer.name


def exported(model):
    with tempfile.TemporaryDirectory() as folder:
        return keras_epos.export(model, Path(folder) / "model", list(FORMATS), half=False, int8=False)


if __name__ == "__main__":
    main()
