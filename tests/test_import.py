import subprocess
import sys

import pytest


@pytest.mark.backend("tensorflow", reason="hides TensorFlow from Keras")
def test_without_a_backend_the_import_says_which_extra_to_install():
    program = "import sys; sys.modules['tensorflow'] = None; import keras_epos"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "keras-epos[cpu]" in done.stderr.splitlines()[-1]
