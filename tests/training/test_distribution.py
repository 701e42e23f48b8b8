"""Several devices train as one does: the batch is that of all of them."""

import os
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

# Three samples on two replicas are a batch of two and one of a single one, of which the second replica has none.
FEW_SAMPLES = """
import keras, numpy as np, tensorflow as tf
import keras_epos

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
rows, labels = np.random.default_rng(0).normal(size=(3, 6)).astype("float32"), np.array([0, 0, 1])
for micro_batch in (None, 1):
    with strategy.scope():
        first = keras.layers.Dense(5), keras.layers.BatchNormalization()
        model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((6,)), *first]), 4)
        model.compile(keras.optimizers.SGD(0.1), loss=keras_epos.NormalizedSoftmaxLoss(2), micro_batch=micro_batch)
    model.fit(rows, labels, batch_size=2, shuffle=False, verbose=0)
    for weight in model.weights:
        for part in strategy.experimental_local_results(weight.value):
            assert np.isfinite(part.numpy()).all(), weight.path
with strategy.scope():
    model.compile(loss="multi_similarity")
more = np.random.default_rng(0).normal(size=(12, 6)).astype("float32"), np.arange(12) % 2
guard = keras_epos.FrozenBaseline(*more, train=more, k=(1,))
model.fit(*more, batch_size=12, verbose=0, callbacks=[guard])
assert "probe" in guard.baseline
# What is embedded here, and all that is needed to embed it without a strategy.
np.savez("embeddings.npz", rows=more[0], embeddings=model.predict(more[0], verbose=0))
model.save("model.keras")
keras_epos.export_savedmodel(model, "saved", version=1)
for function in (model.train_on_batch, model.test_on_batch):
    try:
        function(rows, labels)
    except ValueError as error:
        assert f"`{function.__name__}` must be called without several replicas" in str(error), error
    else:
        raise AssertionError(function.__name__)
"""

# Eleven samples on two devices, in batches of three and of a data set of five.
UNEVEN = """
import keras, numpy as np
import keras_epos

keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
rows, labels = np.random.default_rng(0).normal(size=(11, 6)).astype("float32"), np.arange(11) % 3


class Fives(keras.utils.PyDataset):
    num_batches = 3

    def __getitem__(self, number):
        return rows[number * 5 : number * 5 + 5], labels[number * 5 : number * 5 + 5]


layers = [keras.Input((6,)), keras.layers.Dense(5), keras.layers.BatchNormalization()]
model = keras_epos.EmbeddingModel(keras.Sequential(layers), 4)
model.compile(loss="triplet")
callbacks = [
    keras_epos.FrozenBaseline(rows, labels, train=Fives(), k=(1,)),
    keras_epos.CollapseMonitor(Fives()),
    keras_epos.HierarchyRebuild(rows, labels, indices=keras_epos.data.AnchorNeighborIndices(labels, 1, 3, 2)),
]
model.fit(rows[:8], labels[:8], batch_size=4, verbose=0, callbacks=callbacks)
assert set(callbacks[0].baseline) == {"start", "backbone", "probe"}
expected = np.asarray(model(rows))
for size in (3, None):
    found = model.predict(rows, batch_size=size, verbose=0)
    assert found.shape == (11, 4) and np.abs(found - expected).max() < 1e-6
found = callbacks[0].evaluate(model)["recall@1"]
assert found == keras_epos.retrieval.evaluate(expected, labels, k=(1,))["recall@1"], found
plain = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
recall = keras_epos.RecallAtK(rows, labels, k=(1,))
assert recall.evaluate(plain) == keras_epos.retrieval.evaluate(np.asarray(plain(rows)), labels, k=(1,))
"""


@pytest.mark.backend("tensorflow", "jax", reason="Keras has no data parallelism on PyTorch")
def test_two_devices_train_as_one_even_in_pieces():
    names = ["easy_positive_triplet", "sampled classes", "memory"]
    if keras.backend.backend() == "tensorflow":
        names += ["random pairs", "hierarchical_triplet"]
    check_as_one(names, "--micro-batch", "7")


@pytest.mark.backend("jax", reason="only JAX splits variables")
def test_two_devices_with_a_half_of_the_proxies_each():
    check_as_one(["proxy_anchor", "sampled classes"], "--split-proxies")


def check_as_one(names, *options):
    command = [sys.executable, BENCHMARK, "--devices", "2", *options, "--losses", *names]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in names:
        value, weight = map(float, re.search(rf"^{name} +(\S+) +(\S+)$", done.stdout, re.M).groups())
        assert value < 1e-5, done.stdout
        assert weight < 1e-6, done.stdout


@pytest.mark.backend("tensorflow", reason="tf.distribute needs TensorFlow")
@pytest.mark.parametrize("program", [HALF_PRECISION, FEW_SAMPLES], ids=["not finite on one", "none on one"])
def test_a_replica_that_has_nothing_of_use_harms_no_weight(program, tmp_path):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    if program is FEW_SAMPLES:
        check_what_was_saved(tmp_path)


def check_what_was_saved(folder):
    """The files of a model of several replicas embed on one as the replicas did, whose statistics are the same."""
    import tensorflow as tf

    kept = np.load(folder / "embeddings.npz")
    model = keras.saving.load_model(folder / "model.keras")
    np.testing.assert_allclose(model.predict(kept["rows"], verbose=0), kept["embeddings"], rtol=0, atol=1e-6)
    embed = tf.saved_model.load(str(folder / "saved" / "1")).signatures["embed"]
    (found,) = embed(**{next(iter(embed.structured_input_signature[1])): tf.constant(kept["rows"])}).values()
    np.testing.assert_allclose(found, kept["embeddings"], rtol=0, atol=1e-6)


@pytest.mark.backend("jax", reason="keras.distribution needs JAX")
def test_what_does_not_divide_by_the_devices_is_embedded_all_the_same():
    flags = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    environment = {**os.environ, "XLA_FLAGS": flags}
    done = subprocess.run([sys.executable, "-c", UNEVEN], capture_output=True, text=True, env=environment)
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
        ({"gradient_accumulation_steps": 2}, r"`optimizer` must have neither .* Received: a SGD with gradient_accumul"),
        ({"use_ema": True, "ema_overwrite_frequency": 3}, "Received: a SGD with .* ema_overwrite_frequency=3"),
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
        optimizer = keras.optimizers.SGD(
            **{name: value for name, value in settings.items() if name.startswith(("gradient", "use", "ema"))}
        )

    Strategy.__name__ = settings.get("strategy", "MirroredStrategy")
    with pytest.raises(ValueError, match=sentence):
        _replica_step.refuse_what_cannot_share(Model())
