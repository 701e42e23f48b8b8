"""A SavedModel answers in C++ as the model does: no Python, the loader of TensorFlow Serving."""

import os
import shutil
import subprocess
from pathlib import Path

import birds
import numpy as np
import pytest

pytestmark = pytest.mark.backend("tensorflow", reason="only TensorFlow writes SavedModels")
IMAGES = birds.PIXELS.astype("float32")
SOURCE = Path(__file__).with_name("load_saved_model.cc")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Compiled without optimization, which takes a third of the time."""
    import tensorflow as tf

    folder, include = Path(tf.sysconfig.get_lib()), Path(tf.sysconfig.get_include())
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    library = folder / "libtensorflow_cc.so.2"
    if not library.exists() or not (include / "tensorflow/cc/saved_model/loader.h").exists():
        pytest.skip(f"this TensorFlow has no {library.name} or no headers for C++")
    out = tmp_path_factory.mktemp("program") / "load_saved_model"
    flags = [
        *tf.sysconfig.get_compile_flags(),
        *tf.sysconfig.get_link_flags(),
        "-Wl,--no-as-needed",
        f"-l:{library.name}",
    ]
    command = ["g++", "-w", "-O0", str(SOURCE), "-o", str(out), *flags, f"-Wl,-rpath,{folder}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def run(program, *arguments):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run([program, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=300)


def rows(done):
    assert done.returncode == 0, done.stderr[-2000:]
    return np.array([[float(number) for number in line.split()] for line in done.stdout.splitlines()])


def test_pixels_and_files(program, model, exported, tmp_path):
    expected = np.asarray(model(IMAGES[:3], training=False))
    pixels, files = [], []
    for number in range(3):
        pixels.append(tmp_path / f"{number}.raw")
        pixels[-1].write_bytes(IMAGES[number].tobytes())
        files.append(tmp_path / f"{number}.png")
        files[-1].write_bytes(birds.FILES[number])
    np.testing.assert_allclose(rows(run(program, exported, "embed", *pixels)), expected, rtol=0, atol=1e-6)
    files[1].write_bytes(birds.FILES[1][:50])
    found = rows(run(program, exported, "embed_bytes", *files))
    np.testing.assert_allclose(found[[0, 2]], expected[[0, 2]], rtol=0, atol=1e-6)
    assert np.isnan(found[1]).all()


def test_what_it_refuses(program, exported, tmp_path):
    (tmp_path / "short.raw").write_bytes(b"1234")
    for arguments, message in (
        ((exported, "paint", tmp_path / "short.raw"), "no signature paint"),
        ((exported, "embed", tmp_path / "short.raw"), "a row must have 768 bytes"),
        ((tmp_path, "embed", tmp_path / "short.raw"), "SavedModel"),
    ):
        done = run(program, *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert message in done.stderr
