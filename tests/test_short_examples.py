"""The short examples, run as commands on the figures that they make."""

import importlib
import re

import pytest
from test_examples import SCRIPT, run

pytestmark = pytest.mark.backend("tensorflow", reason="the examples decode images by TensorFlow")

SHORT = ("--epochs", 1, "--size", 32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With the figures, as any of the programs would have made them."""
    made = tmp_path_factory.mktemp("examples")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)
        importlib.import_module("made_images").figures(made / "made_people")
    return made


def example(folder, name, *arguments):
    printed = run(folder, *arguments, *SHORT, script=SCRIPT.parent / f"{name}.py")
    assert len((SCRIPT.parent / f"{name}.py").read_text().splitlines()) < 60
    return printed


def test_reidentify(folder):
    printed = example(folder, "reidentify")
    assert re.search(r"^and re-ranked +[\d.]+% +[\d.]+% +[\d.]+% +[\d.]+%$", printed, re.M), printed
    assert (folder / "reidentify.keras").is_file()


def test_verify(folder):
    images = folder / "made_people" / "images" / "059"
    pair = images / "camera1_0.png", images / "camera1_0.png"
    printed = example(folder, "verify", images.parent, *pair)
    assert f"{pair[0]} and {pair[0]}: the same (similarity 1.000)" in printed
    assert (folder / "verify.png").is_file()


def test_find_products(folder):
    printed = example(folder, "find_products", "made_people/images", "made_people/images/059/camera1_0.png")
    assert "150 photographs of unknown products: " in printed
    assert (folder / "catalog").is_dir()


def test_adapt_transformer(folder):
    printed = example(folder, "adapt_transformer")
    assert "6,144 weights of adapters are trained" in printed
    assert "FrozenBaseline: recall@1 is " in printed
    assert (folder / "adapters.npz").is_file()
