"""One export with every signature, for all tests that ask it: it takes seconds to write and to load."""

import pytest
from birds import PIXELS, network

from keras_epos import Gallery, export_savedmodel


@pytest.fixture(scope="session")
def model():
    return network()


@pytest.fixture(scope="session")
def gallery(model):
    gallery = Gallery(model, threshold=0.9)
    # Copies are ties, and one row is taken away again.
    order = [*range(15), 3, 3, 4]
    gallery.add(PIXELS[order].astype("float32"), ids=range(18), labels=[f"class {row % 4}" for row in order])
    gallery.remove([5])
    return gallery


@pytest.fixture(scope="session")
def exported(model, gallery, tmp_path_factory):
    """That exports are verified is tested where they have fewer signatures and are made faster."""
    folder = tmp_path_factory.mktemp("models") / "birds"
    return export_savedmodel(model, folder, gallery=gallery, max_k=25, verify=False)


@pytest.fixture(scope="session")
def signatures(exported):
    import tensorflow as tf

    return tf.saved_model.load(str(exported)).signatures
