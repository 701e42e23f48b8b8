"""What every test shares: the backend at hand, and quiet, reproducible runs."""

import importlib.util
import os
import random
import resource
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The tests compute little at a time: more threads would wait for each other, and for those of other test processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import keras
import numpy as np
import pytest

BACKEND = keras.backend.backend()
if importlib.util.find_spec("tensorflow") is None:
    # What is about TensorFlow alone says so by importing it at its top.
    collect_ignore = [
        str(path) for path in Path(__file__).parent.rglob("test_*.py") if "\nimport tensorflow" in path.read_text()
    ]
if BACKEND == "tensorflow":
    # XLA takes seconds to compile a model for its few steps. Tests that are about it ask for it by `jit_compile=True`,
    # and the README's programs and those in processes of their own have Keras's default.
    keras.Model._resolve_auto_jit_compile = lambda model: False
if BACKEND == "jax":
    import jax

    # The oracle is float64. What users get without this switch is tested in a process of its own.
    jax.config.update("jax_enable_x64", True)


def pytest_configure(config):
    config.addinivalue_line("markers", "backend(*names, reason): runs on these Keras backends only")


def pytest_runtest_setup(item):
    for marker in item.iter_markers("backend"):
        if BACKEND not in marker.args:
            pytest.skip(f"{marker.kwargs['reason']} (backend is {BACKEND})")


@pytest.fixture(autouse=True, scope="module")
def bounded_memory():
    """JAX keeps every compiled function, gigabytes by the end; but compiling them again takes its time."""
    yield
    if BACKEND == "jax" and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 7 * 2**20:  # KiB
        jax.clear_caches()


@pytest.fixture(autouse=True)
def seeded():
    if BACKEND == "tensorflow":
        # What Keras draws its seeds from. `keras.utils.set_random_seed` drops TensorFlow's kernels too, for every test.
        random.seed(0)
        np.random.seed(0)
    else:
        keras.utils.set_random_seed(0)
