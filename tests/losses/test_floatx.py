"""The computation inside is float32 whatever `keras.config.set_floatx` says."""

import keras
import numpy as np
import pytest
from loss_cases import LOSSES, ON_JAX, batch, make, numpy, tensor

from keras_epos import losses

SOME = ["triplet", "NT-Xent"] if ON_JAX else [loss for loss in LOSSES if "hard" not in loss][::2]
MANY = np.random.default_rng(0).standard_normal((600, 4)).astype("float32")


@pytest.mark.parametrize("floatx", ["float16", "bfloat16", "float64"])
def test_values_do_not_depend_on_floatx(floatx):
    labels, embeddings = batch()
    rows = tensor(embeddings, "float32")
    # Pairs beyond what half precision counts.
    many = np.arange(600) % 2

    def found():
        values = [numpy(make(loss, "easy", "hard", dtype="float32")(labels, rows)) for loss in SOME]
        for loss in (losses.TripletLoss(positives="all", negatives="hard"), losses.ContrastiveLoss()):
            values.append(numpy(loss(many, MANY)))
        proxies = losses.ProxyAnchorLoss(4)
        proxies.adopt(5)
        proxies.proxies.assign(np.eye(4, 5))
        return [*values, numpy(proxies(labels, rows)), numpy(losses.KoLeoPenalty()(labels, rows))]

    expected = found()
    keras.config.set_floatx(floatx)
    try:
        np.testing.assert_array_equal(found(), expected)
        if floatx != "float64" and keras.backend.backend() == "tensorflow":
            for jit_compile in (False, True):
                model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
                model.compile("sgd", loss=losses.EasyPositiveTripletLoss(), jit_compile=jit_compile)
                history = model.fit(embeddings, labels, batch_size=12, verbose=0).history
                assert 0 < float(history["loss"][0]) < np.inf
    finally:
        keras.config.set_floatx("float32")
