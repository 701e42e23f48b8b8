"""Under a strategy each replica mines its own part of the batch, and the step is the mean of theirs."""

import json
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.backend("tensorflow", reason="tf.distribute needs TensorFlow")

PROGRAM = """
import json
import keras, numpy as np, tensorflow as tf
import keras_epos

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
half = np.random.default_rng(0).normal(size=(12, 6)).astype("float32")
labels = np.arange(12) % 3

def step(make, strategy, inputs, labels):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)]), 4)
        model.compile(keras.optimizers.SGD(0.1), loss=make(), loss_optimizer=keras.optimizers.SGD(1.0))
    model.fit(tf.data.Dataset.from_tensors((inputs, labels)), verbose=0)
    return np.concatenate([weight.numpy().ravel() for weight in model.trainable_weights]).tolist()

mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for make in (
    lambda: keras_epos.MarginLoss(learn_boundary="global", negatives="hard"),
    lambda: keras_epos.ProxyAnchorLoss(3),
):
    one = step(make, tf.distribute.get_strategy(), half, labels)
    two = step(make, mirrored, np.concatenate([half, half]), np.concatenate([labels, labels]))
    print(json.dumps([one, two]))
"""


def test_two_replicas_with_the_same_samples_make_the_step_of_one():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    for line, own_weights in zip(done.stdout.splitlines()[-2:], (1, 3 * 4), strict=True):
        one, two = json.loads(line)
        assert len(one) == 6 * 5 + 5 + 5 * 4 + 4 + own_weights
        np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-6)
