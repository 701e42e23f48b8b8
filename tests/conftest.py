"""What every test shares: the backend at hand, and quiet, reproducible runs."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest

BACKEND = keras.backend.backend()
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
    """JAX keeps every compiled function: gigabytes by the end of the suite."""
    yield
    if BACKEND == "jax":
        jax.clear_caches()


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)
