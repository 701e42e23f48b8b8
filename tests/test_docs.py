"""Every line of code in the tables of the documents names something that exists, and builds."""

import ast
import re
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_epos
import keras_epos.compat.tfa

pytestmark = pytest.mark.backend("tensorflow", reason="balanced_batches needs tf.data")

DOCS = Path(__file__).parents[1] / "docs"


def lines(document, columns):
    """Code in the given columns of the tables of a document."""
    found = []
    for line in (DOCS / document).read_text().splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            cells = line.strip("|").split("|")
            for column in columns:
                found += re.findall(r"`([^`]+)`", cells[column])
    return found


def code_of(document, columns):
    return [pytest.param(code, id=code) for code in dict.fromkeys(lines(document, columns)) if code[0].isalpha()]


NAMES = {
    **{name: getattr(keras_epos, name) for name in keras_epos.__all__},
    "tfa": keras_epos.compat.tfa,
    "backbone": keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]),
    "images": np.zeros((40, 4), "float32"),
    "labels": np.arange(40) % 4,
    "classes": 3,
    "m": 4,
}


def builds(code):
    value = eval(code, dict(NAMES))
    if isinstance(ast.parse(code, mode="eval").body, ast.Call):
        assert not isinstance(value, type)
    assert value is not None


@pytest.mark.parametrize("code", code_of("recipes.md", [1]))
def test_recipes(code):
    assert isinstance(eval(code, dict(NAMES)), keras_epos.EmbeddingLoss)


# What follows names Keras's own or is a word of the text.
OF_KERAS = {"sample_weight", "class_weight", "fit", "export_savedmodel", "keras.Model"}
SAVING = 'model.save("model.keras")'


@pytest.mark.parametrize("code", [code for code in code_of("migration.md", [-1]) if code.id not in OF_KERAS | {SAVING}])
def test_migration(code):
    builds(code)


def test_drop_ins():
    drop_ins = [line for line in lines("migration.md", [1]) if line.startswith("tfa.")]
    assert len(drop_ins) == 8
    for line in drop_ins:
        builds(line)


def test_the_table_names_every_loss():
    text = (DOCS / "losses.md").read_text()
    for loss in keras_epos.losses.LOSSES.values():
        assert f"`{loss.__name__}`" in text or loss is keras_epos.EasyPositiveTripletLoss


def test_the_programs_about_collapse_run():
    images, labels = np.random.default_rng(0).normal(size=(40, 4)).astype("float32"), np.arange(40) % 4
    model = keras_epos.EmbeddingModel(NAMES["backbone"], 3)
    model.compile("adam", loss=keras_epos.EasyPositiveTripletLoss())
    names = {
        **NAMES,
        "keras_epos": keras_epos,
        "model": model,
        "images": images,
        "labels": labels,
        "modes": np.arange(40) % 8,
        "embeddings": images,
        "batches": keras_epos.data.balanced_batches(images, labels, 4, 4),
    }
    programs = re.findall(r"```python\n(.+?)```", (DOCS / "collapse.md").read_text(), flags=re.DOTALL)
    assert len(programs) == 2
    for program in programs:
        exec(program, names)
    assert names["values"]["mode_recall@1"] >= 0
    assert len(names["monitor"].history) >= 1


def test_the_program_about_label_noise_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (120, 8, 8), np.uint8)

    def classifier():
        model = keras.Sequential([keras.Input((8, 8)), keras.layers.Flatten(), keras.layers.Dense(4)])
        model.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    names = {
        "keras_epos": keras_epos,
        "images": images,
        "labels": np.arange(120) % 4,
        "paths": [f"{number}.png" for number in range(120)],
        "model": classifier(),
        "fresh": classifier(),
    }
    programs = re.findall(r"```python\n(.+?)```", (DOCS / "label_noise.md").read_text(), flags=re.DOTALL)
    assert len(programs) == 1
    exec(programs[0], names)
    assert (tmp_path / "parts.csv").read_text().count("png") == 120
    assert (tmp_path / "parts.png").stat().st_size > 5_000
    assert names["batches"].stage(29) == 2
