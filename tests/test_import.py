import importlib.util
import subprocess
import sys

import pytest


def failing_import(*hidden):
    program = f"import sys; sys.modules.update(dict.fromkeys({hidden})); import keras_epos"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


@pytest.mark.backend("tensorflow", reason="hides TensorFlow from Keras")
def test_without_a_backend_the_import_says_which_extra_to_install():
    message = failing_import("tensorflow", "jax", "torch")
    assert "keras-epos[cpu]" in message
    assert "export" not in message


@pytest.mark.backend("tensorflow", reason="hides TensorFlow from Keras")
def test_with_another_backend_the_import_says_how_to_choose_it():
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    message = failing_import("tensorflow", "jax")
    assert "torch is installed here: choose it by `export KERAS_BACKEND=torch`" in message
