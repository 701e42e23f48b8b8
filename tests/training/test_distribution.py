"""Several devices train as one does: the batch is that of all of them."""

import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_epos
from keras_epos.training import _replica_step

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "devices.py"

# What no weight looks at yet changes no embedding, but the gradient of its weights, which overflows on one replica.
HALF_PRECISION = """
import keras, numpy as np, tensorflow as tf
import keras_epos

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    first = keras.layers.Dense(5, kernel_initializer=lambda shape, dtype: np.eye(*shape, k=-1))
    model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((6,)), first]), 4, dtype="mixed_float16")
    model.compile(keras.optimizers.SGD(0.1), loss="multi_similarity")
rows = np.random.default_rng(0).normal(size=(12, 6)).astype("float32")
broken = rows.copy()
broken[-1, 0] = 60000
labels = np.arange(12) % 3
before = [weight.numpy() for weight in model.trainable_weights]
model.fit(broken, labels, batch_size=12, shuffle=False, verbose=0)
assert all((old == new.numpy()).all() for old, new in zip(before, model.trainable_weights)), "a broken step was taken"
assert model.optimizer.dynamic_scale.numpy() == 2.0**14
model.fit(rows, labels, batch_size=12, shuffle=False, verbose=0)
assert all((old != new.numpy()).any() for old, new in zip(before, model.trainable_weights)), "no step was taken"
assert all(np.isfinite(weight.numpy()).all() for weight in model.trainable_weights)
"""


@pytest.mark.backend("tensorflow", "jax", reason="Keras has no data parallelism on PyTorch")
def test_two_devices_train_as_one_even_in_pieces():
    names = ["easy_positive_triplet", "proxy_anchor", "memory", "random pairs", "hierarchical_triplet"]
    command = [sys.executable, BENCHMARK, "--devices", "2", "--micro-batch", "7", "--losses", *names]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in names:
        value, weight = map(float, re.search(rf"^{name} +(\S+) +(\S+)$", done.stdout, re.M).groups())
        assert value < 1e-5, done.stdout
        assert weight < 1e-6, done.stdout


@pytest.mark.backend("tensorflow", reason="tf.distribute needs TensorFlow")
def test_a_step_that_is_not_finite_on_one_replica_is_taken_by_none():
    done = subprocess.run([sys.executable, "-c", HALF_PRECISION], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.backend("torch", reason="a process group of PyTorch")
def test_processes_of_pytorch_are_refused(monkeypatch):
    from torch import distributed

    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 4)
    model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)]), 4)
    model.compile(loss="multi_similarity")
    with pytest.raises(ValueError, match=r"`fit` must run in one process on PyTorch.*Received: a process group of 4"):
        model.fit(np.zeros((4, 6), "float32"), np.array([0, 0, 1, 1]), verbose=0)


@pytest.mark.backend("tensorflow", reason="tf.distribute needs TensorFlow")
@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"jit_compile": True}, r"`compile` must have neither jit_compile=True .* Received: jit_compile=True"),
        ({"steps_per_execution": 2}, "Received: jit_compile=False, steps_per_execution=2, 2 replicas"),
        (
            {"strategy": "MultiWorkerMirroredStrategy"},
            r"replicas in one process.*Received: MultiWorkerMirroredStrategy",
        ),
    ],
)
def test_what_keras_cannot_share_is_refused(settings, sentence):
    import tensorflow as tf

    class Strategy(getattr(tf.distribute, settings.get("strategy", "MirroredStrategy"))):
        def __init__(self):
            pass

        num_replicas_in_sync = 2

    class Model:
        distribute_strategy = Strategy()
        jit_compile = settings.get("jit_compile", False)
        steps_per_execution = settings.get("steps_per_execution", 1)

    Strategy.__name__ = settings.get("strategy", "MirroredStrategy")
    with pytest.raises(ValueError, match=sentence):
        _replica_step.refuse_what_cannot_share(Model())
