"""The benchmarks, run as commands in a tiny setting: they end and print their tables. No figure is looked at."""

import importlib.util
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from test_examples import SCRIPT, run

pytestmark = pytest.mark.backend("tensorflow", reason="the benchmarks need TensorFlow")

BENCHMARKS = SCRIPT.parents[1] / "benchmarks"
TINY = ("--rounds", 1, "--batch", 16, "--dim", 8)


def check(folder, name, *arguments, rows):
    """Run it, look for the rows of its table and the line below, and return all that was printed."""
    printed = run(folder, *arguments, script=BENCHMARKS / name)
    for row in (*rows, ""):
        assert f"\n{row} " in printed, printed
    assert " cores, Python " in printed
    return printed


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    generator = np.random.default_rng(0)
    for number in range(256):
        keras.utils.save_img(folder / f"{number:03d}.jpg", generator.integers(0, 256, (20, 24, 3), np.uint8))
    return folder


def test_batches(tmp_path):
    options = ("--rounds", 1, "--classes", 40, 50, "--peer-up-to", 40, "--seconds", 0.1)
    check(tmp_path, "batches.py", *options, rows=["first batch, seconds", "choose_from_datasets: first batch, seconds"])


def test_batches_of_photographs(tmp_path, photographs):
    rows = ["share of the pipeline without balancing", "share of decoding alone"]
    check(tmp_path, "batches.py", "--rounds", 1, "--photographs", photographs, rows=rows)


def test_export(tmp_path):
    printed = run(tmp_path, "--formats", "savedmodel", script=BENCHMARKS / "export.py")
    assert all(f"\n{row} " in printed for row in ("format", "keras", "decoder", "savedmodel"))
    assert "savedmodel/embed/1\n" in printed
    assert " cores, Python " in printed


def test_fit(tmp_path):
    loss = "easy triplet, semi-hard"
    rows = [f"{loss} ({how}): in fit" for how in ("XLA", "graph")]
    assert "\nLeft to itself, fit takes here: " in check(tmp_path, "fit.py", *TINY, "--steps", 2, rows=rows)


def test_fuzz_images(tmp_path):
    check(tmp_path, "fuzz_images.py", "--inputs", 200, "--batch", 50, rows=["jpeg", "png", "gif", "bmp", "webp", "all"])


@pytest.mark.skipif(sys.platform == "win32", reason="no process is killed so on Windows")
def test_gallery_kills(tmp_path):
    script = BENCHMARKS / "gallery_kills.py"
    both = ["--lance"] if importlib.util.find_spec("lancedb") else []
    printed = run(tmp_path, "--kills", 2, "--rows", 100, *both, script=script)
    assert re.findall(r"(\w+): 2 kills, \d found .*, 0 damaged\n", printed) == ["folder", "LanceDB"][: 1 + len(both)]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read as Linux tells it")
def test_gallery(tmp_path):
    options = ("--rounds", 1, "--rows", 1000, "--dim", 16, "--queries", 1, 20, "--storages", "int8")
    printed = check(tmp_path, "gallery.py", *options, rows=["int8"])
    for title in ("MB at 1,000 x 16", "Recall at 1,000 x 16, 20 queries, in percent", "Time as a multiple of "):
        assert f"\n{title}" in printed


def test_losses_beside_another_process(tmp_path):
    """Which has nothing but its product to show: what it is for needs an environment of its own."""
    loss = "easy triplet, semi-hard"
    options = ("--of", loss, "--old-peers", sys.executable, "--plot", tmp_path / "losses.png")
    rows = [f"{loss} (XLA)", f"{loss} (graph)", "one product, TensorFlow"]
    assert "\nOld peers: " in check(tmp_path, "losses.py", *TINY, *options, rows=rows)
    assert (tmp_path / "losses.png").stat().st_size > 10_000


def test_every_loss(tmp_path):
    options = (*TINY, "--every", "--of", "CircleLoss")
    check(tmp_path, "losses.py", *options, rows=["CircleLoss (XLA)", "CircleLoss (graph)"])
    assert "Received: Circle\n" in run(tmp_path, "--every", "--of", "Circle", code=2, script=BENCHMARKS / "losses.py")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read as Linux tells it")
def test_memory(tmp_path):
    check(tmp_path, "memory.py", "--losses", "--retrieval", "1100x8", rows=["retrieval, all measures"])
    # What a process of its own does.
    case = '{"of": "easy triplet, semi-hard", "rows": 128, "dim": 8, "jit_compile": true}'
    printed = run(tmp_path, "--one", case, script=BENCHMARKS / "memory.py")
    assert float(printed.split()[-1]) >= 0


def test_odd_images(tmp_path):
    """The table of the document is what the command prints, row by row."""
    rows = run(tmp_path, "--markdown", script=BENCHMARKS / "odd_images.py").strip().splitlines()
    document = (BENCHMARKS.parent / "docs" / "photographs.md").read_text().splitlines()
    start = document.index(rows[0])
    assert document[start : start + len(rows) + 1] == [*rows, ""]
    assert len(rows) > 30


def test_peers_need_a_python_that_fits(tmp_path):
    printed = run(tmp_path, "--python", "no-such-python", code=2, script=BENCHMARKS / "peers.py")
    assert "`--python` must be a Python. Received: --python no-such-python" in printed


def test_protocols(tmp_path):
    rows = ["Recall@K (CMC, hit rate)", "verify: 3 rates, EER, intervals", "re-ranking and mAP"]
    check(tmp_path, "protocols.py", "--rounds", 1, "--rows", 1100, "--dim", 8, rows=rows)
    printed = run(tmp_path, "--check", 2, script=BENCHMARKS / "protocols.py")
    assert len(re.findall(r"\n\w.{35} *\d\.\de[-+]\d\d", printed)) == 12


def test_retrieval(tmp_path):
    options = ("--rounds", 1, "--rows", 1100, 1200, "--dim", 8)
    check(tmp_path, "retrieval.py", *options, rows=["all products, transposed once", "nearest, k=11"])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read as Linux tells it")
def test_serving(tmp_path):
    """Here every answer is looked at: the command fails where one is wrong."""
    rows = ["rows", "columns", "corrupt", "malformed", "mutated"]
    printed = check(tmp_path, "serving.py", "--seconds", 3, "--clients", 2, rows=rows)
    assert "\nMutated bodies: " in printed
    assert "It did not end." in printed


def test_step(tmp_path):
    losses = ["easy triplet, semi-hard", "easy NT-Xent"]
    check(tmp_path, "step.py", *TINY, "--size", 16, "--of", *losses, rows=["the floor once more", *losses])


def test_step_with_photographs(tmp_path, photographs):
    options = ("--size", 16, "--photographs", photographs, "--photograph-steps", 2)
    check(tmp_path, "step.py", *TINY, *options, rows=["waiting for the next batch"])
