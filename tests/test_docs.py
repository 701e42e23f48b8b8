"""Every line of code in the tables of the documents names something that exists, and builds."""

import ast
import doctest
import inspect
import os
import re
import sys
import tempfile
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


def programs(document):
    return re.findall(r"```python\n(.+?)```", (DOCS / document).read_text(), flags=re.DOTALL)


def shared_names():
    images, labels = np.random.default_rng(0).normal(size=(40, 4)).astype("float32"), np.arange(40) % 4
    model = keras_epos.EmbeddingModel(keras.models.clone_model(NAMES["backbone"]), 3)
    model.compile("adam", loss=keras_epos.EasyPositiveTripletLoss())
    return {
        **NAMES,
        "keras": keras,
        "keras_epos": keras_epos,
        "model": model,
        "images": images,
        "labels": labels,
        "modes": np.arange(40) % 8,
        "embeddings": images,
        "batches": keras_epos.data.balanced_batches(images, labels, 4, 4),
    }


def test_the_programs_about_easy_positives_run():
    names = shared_names()
    for program in programs("when_easy_positives_help.md"):
        exec(program, names)
    assert names["values"]["mode_recall@1"] >= 0
    assert len(names["monitor"].history) >= 1


def test_the_programs_about_migration_run():
    generator = np.random.default_rng(0)
    vectors = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.AveragePooling2D(8), keras.layers.Flatten()])
    names = {
        **shared_names(),
        "tfa": keras_epos.compat.tfa,
        "x_train": generator.integers(0, 256, (160, 32, 32, 3), np.uint8),
        "y_train": np.arange(160)[:, None] % 10,
        "x_test": generator.integers(0, 256, (20, 32, 32, 3), np.uint8),
        "anchors": generator.integers(0, 256, (32, 32, 32, 3), np.uint8),
        "positives": generator.integers(0, 256, (32, 32, 32, 3), np.uint8),
    }
    drop_in, torch_script, *of_keras_io = programs("migration.md")
    exec(drop_in, names)
    names |= {"labels": np.arange(40) % 8}
    exec(torch_script, names)
    assert set(names["scores"]) >= {"recall@1", "map@r"}
    assert len(of_keras_io) == 4
    for program in of_keras_io:
        exec(program, names | {"backbone": keras.models.clone_model(vectors)})


def test_the_programs_about_re_identification_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    keras.utils.save_img("0.png", np.zeros((4, 4, 3)), scale=False)
    (tmp_path / "people.csv").write_text("path,identity,camera,split\n0.png,ben,yard,query\n")
    generator = np.random.default_rng(0)
    people = np.arange(64) % 8
    images = generator.normal(size=(64, 64, 32, 3)).astype("float32") + 20 * people[:, None, None, None]
    names = {
        "images": images,
        "people": people,
        "num_people": 8,
        "num_cameras": 4,
        "query_images": images[:16],
        "query_people": people[:16],
        "query_cameras": np.arange(16) % 4,
        "gallery_images": images[16:],
        "gallery_people": people[16:],
        "gallery_cameras": np.arange(16, 64) // 8 % 4,
    }
    for program in programs("reidentification.md"):
        exec(program, names)
    assert re.search(r"rank 1 \d.*mAP \d.*mINP \d", capsys.readouterr().out)


def test_the_programs_about_any_input_run(tmp_path, monkeypatch, capsys):
    import tensorflow as tf

    monkeypatch.chdir(tmp_path)
    names, rows, several, sequences, strings, serve = {}, *programs("any_input.md")
    exec(rows, names)
    shown = capsys.readouterr().out
    before, after = (int(share) for share in re.search(r"(\d+)% before, (\d+)% after", shown).groups())
    assert before < after
    exec(several, names)
    assert 0 < names["scores"]["recall@1"] < 1
    exec(sequences, names)
    assert capsys.readouterr().out.endswith("True\n")
    exec(strings, names)
    exec(serve, names)
    served = tf.saved_model.load(str(names["path"])).signatures["embed"]
    (name,) = served.structured_input_signature[1]
    found = served(**{name: tf.constant(["red large plate no 7"])})["embedding"]
    np.testing.assert_allclose(found, names["one"], atol=1e-6)


def test_the_programs_about_protocols_run(capsys):
    names = {}
    for program in programs("protocols.md"):
        exec(program, names)
    shown = capsys.readouterr().out
    assert len(re.findall(r"mAP [+-]?\d", shown)) == 6
    assert re.search(r"mAP \+0.\d+ \(\+0", shown)
    assert "found at 10 % false alarms" in shown


def test_the_program_about_resuming_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (program,) = programs("resume.md")
    names = {}, {}
    for one in names:
        exec(program.replace("epochs=4", "epochs=1"), one)
    assert "Resume: run goes on after epoch 1 of 1." in capsys.readouterr().out
    assert names[0]["history"].history == names[1]["history"].history


def test_the_programs_about_verification_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for program in programs("verification.md"):
        exec(program, names)
    shown = capsys.readouterr().out.splitlines()
    text = (DOCS / "verification.md").read_text()
    assert len(shown) == 7
    assert all(line in text for line in shown[:5])
    assert (tmp_path / "verification.png").exists()
    assert names["pairs"].accuracy > 0.9
    assert names["of_templates"].eer < names["found"].eer


def test_the_programs_about_backbones_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for program in programs("backbones.md"):
        exec(program, names)
    assert (tmp_path / "adapters.npz").stat().st_size < names["model"].count_params() * 4
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["1", "2", "3", "4"]


def test_the_table_names_every_family_of_backbones():
    sys.path.insert(0, str(DOCS.parent / "tests" / "training"))
    from hub_cases import families

    text = (DOCS / "backbones.md").read_text()
    assert [family for family in families(None) if f"\n| {family} |" not in text] == []


def test_the_program_about_galleries_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (program,) = programs("gallery.md")
    exec(program, {})
    near, left, matches, again = capsys.readouterr().out.splitlines()
    assert near.startswith("['thing 0' 'thing 0' 'thing 0'] [0.")
    assert left == "{'camera': 'left'}"
    assert matches == "['thing 0' 'thing 1' 'unknown']"
    assert again.endswith("['new 0' 'new 1']")


def test_the_programs_about_many_images_run(tmp_path, monkeypatch, capsys):
    """But for Ray, in whose place this process writes the parts."""
    pytest.importorskip("lancedb", reason="LanceDB is not installed")
    monkeypatch.chdir(tmp_path)
    in_this_process = lambda parts, writer, *_: [writer(*part) for part in parts]  # noqa: E731
    monkeypatch.setattr("keras_epos.scale._embed._by_ray", lambda: in_this_process)
    names = {}
    for program in programs("scale.md"):
        exec(program, names)
    shards, recall, near = capsys.readouterr().out.splitlines()
    assert shards == "<Shards of 400 rows in 4 files, dim=32, 0 unreadable>"
    assert 0.5 < float(recall) <= 1
    assert near.startswith("['photos/007.png', ")


def test_the_programs_about_photographs_name_what_exists(tmp_path, monkeypatch):
    pretrained, similar, damaged, saved = programs("photographs.md")
    names = {"keras": keras, "keras_epos": keras_epos}
    for folder in range(20):
        (tmp_path / "photos" / str(folder)).mkdir(parents=True)
        for number in range(8):
            picture = np.full((24, 24, 3), 10 * folder, np.uint8)
            keras.utils.save_img(tmp_path / "photos" / str(folder) / f"{number}.png", picture, scale=False)
    monkeypatch.chdir(tmp_path)
    backbone = "keras.Sequential([keras.Input((24, 24, 3)), keras.layers.GlobalAveragePooling2D()])"
    assert '"EfficientNetV2B0"' in pretrained
    exec(
        pretrained.replace('"EfficientNetV2B0"', backbone).replace("224", "24").replace("epochs=10", "epochs=1"), names
    )
    exec(similar.replace("224", "24"), names)
    assert len(names["rows"][0]) == 5
    (tmp_path / "photos/0/bad.png").write_bytes(b"no picture")
    names["train"] = keras_epos.datasets.image_folder("photos")[0]
    exec(damaged, names)
    assert len(names["train"]) == 80
    names["model"].save("photos.keras")
    exec(saved, names)


def test_the_programs_about_thresholds_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for program in programs("threshold.md"):
        exec(program, names)
    assert (tmp_path / "threshold.png").stat().st_size > 10_000
    assert 0 < (names["answers"] >= 0).mean() < 1
    shown = capsys.readouterr().out
    text = (DOCS / "threshold.md").read_text()
    assert all(line in text for line in shown.splitlines()[:3])
    assert f"# {shown.splitlines()[3].split()[0]}" in text


def examples():
    """Name of a public object, the object, and what doctest finds in its docstring."""
    parser, names = doctest.DocTestParser(), {**shared_names(), "np": np, "os": os, "tempfile": tempfile}
    for package in (
        keras_epos,
        keras_epos.collapse,
        keras_epos.curriculum,
        keras_epos.data,
        keras_epos.gallery,
        keras_epos.retrieval,
    ):
        for name in package.__all__:
            member = getattr(package, name)
            if inspect.isclass(member) or inspect.isfunction(member):
                yield name, member, parser.get_doctest(member.__doc__, dict(names), name, None, 0)


def test_the_examples_in_docstrings_run(tmp_path, monkeypatch):
    import tensorflow as tf

    monkeypatch.chdir(tmp_path)
    tf.config.run_functions_eagerly(True)
    try:
        runner, without = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS), set()
        for name, member, example in examples():
            runner.run(example)
            if not example.examples and has_choices(member):
                without.add(name)
    finally:
        tf.config.run_functions_eagerly(False)
    assert not runner.failures
    assert without == {"EmbeddingLoss", "PairWeightingLoss", "ProxyLoss", "TwoTowerLoss", "HierarchyRebuild"}


def has_choices(member):
    kinds = keras.losses.Loss, keras.callbacks.Callback, keras.Model, keras_epos.mining.Strategy
    return inspect.isclass(member) and issubclass(member, kinds)


def test_the_choice_of_a_loss_names_what_builds():
    for code in lines("choose_a_loss.md", [0, 1]):
        if re.match(r"[A-Z]\w*\(", code):
            value = eval(code, {**NAMES, "num_classes": 4, "weights": weights})
            assert isinstance(
                value, keras_epos.EmbeddingLoss | keras.losses.Loss | keras_epos.Easy | keras_epos.SemiHard
            )
        elif code[0].isupper():
            assert hasattr(keras_epos, code), code


def weights(positives, negatives):
    return positives.similarity, negatives.similarity


def test_links_between_documents_lead_somewhere():
    root = DOCS.parent
    pages = [*root.glob("*.md"), *DOCS.glob("*.md"), *root.glob("studies/*.md"), *root.glob("examples/*.md")]
    assert len(pages) > 12
    for page in [*pages, root / "llms.txt"]:
        text = page.read_text()
        for link in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text):
            link = link[0] or link[1]
            if "://" in link:
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{page.name}: {link}"
            if anchor:
                assert anchor in anchors(target), f"{page.name}: {link}"


def anchors(page):
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


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
    (program,) = programs("label_noise.md")
    exec(program, names)
    assert (tmp_path / "parts.csv").read_text().count("png") == 120
    assert (tmp_path / "parts.png").stat().st_size > 5_000
    assert names["batches"].stage(29) == 2
