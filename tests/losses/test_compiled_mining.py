"""In a TensorFlow graph on a CPU, which Keras does not compile, mining is compiled by itself."""

import numpy as np
import pytest
from loss_cases import LOSSES, batch, make, numpy, tensor, traceable

import keras_epos
from keras_epos import _compiler, same_class
from keras_epos.losses import _pair_loss
from keras_epos.mining import Easy, Hard, Random, SemiHard

pytestmark = pytest.mark.backend("tensorflow", reason="graphs of TensorFlow")


@pytest.fixture
def compiled(monkeypatch):
    """What was compiled, of batches of any size."""
    functions = []

    def recorded(function, tensors, by_xla=_compiler._by_xla):
        functions.append(function)
        return by_xla(function, tensors)

    monkeypatch.setattr(_compiler, "MANY", 1)
    monkeypatch.setattr(_compiler, "_by_xla", recorded)
    return functions


def run(loss, labels, embeddings, **how):
    import tensorflow as tf

    return tf.function(traceable(loss), autograph=False, **how)(tf.constant(labels), tensor(embeddings))


CHOSEN = [("easy", "hard"), ("easy", "semi_hard"), ("hard", "semi_hard skip"), ("hard", "easy")]
# By a matrix, by strips, by tiles.
WAYS = [(10**9, True), (0, False), (0, True)]


# Each takes seconds to compile.
SOME = sorted(LOSSES)[::3]


@pytest.mark.parametrize("loss", SOME)
def test_compiled_mining_changes_no_loss(loss, compiled, monkeypatch):
    labels, embeddings = batch(seed=11)
    place = SOME.index(loss)
    large, is_on_cpu = WAYS[place % 3]
    monkeypatch.setattr(_pair_loss, "LARGE", large)
    monkeypatch.setattr(_pair_loss, "is_on_cpu", lambda rows: is_on_cpu)
    made = make(loss, *CHOSEN[place % 4], average_over="valid")
    equals_eager(made, labels, embeddings)
    if all(one.has_preference for one in (made.positives, made.negatives)):
        assert compiled


@pytest.mark.parametrize(
    "make_loss",
    [
        # Each positive in turn.
        keras_epos.TripletLoss,
        lambda **how: keras_epos.TripletLoss(negatives="all", **how),
        keras_epos.SmoothAPLoss,
        keras_epos.RecallAtKLoss,
        # Drawn, and the same as without XLA.
        lambda **how: keras_epos.MarginLoss(positives="easy", negatives=keras_epos.DistanceWeighted(seed=1), **how),
        lambda **how: keras_epos.TripletLoss(positives=Random(seed=1), negatives=Random(seed=2), **how),
    ],
)
def test_what_is_compiled_of_other_losses_changes_none(make_loss, compiled):
    labels, embeddings = batch(seed=11)
    equals_eager(make_loss(dtype="float64"), labels, embeddings, make_loss(dtype="float64"))
    assert compiled


def equals_eager(loss, labels, embeddings, again=None):
    value, slope = run(loss, labels, embeddings)
    expected, expected_slope = traceable(again or loss)(labels, tensor(embeddings))
    np.testing.assert_allclose(numpy(value), numpy(expected), rtol=1e-12)
    np.testing.assert_allclose(numpy(slope), numpy(expected_slope), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint64", "int8"])
def test_labels_of_every_dtype(dtype, compiled, monkeypatch):
    _, embeddings = batch(seed=3)
    labels = np.array([100, 101, 127, 101, 0, 100, 0, 127, 100, 5, 5, 0], dtype)
    if dtype == "uint64":
        labels += np.uint64(2**63)
    loss = keras_epos.EasyPositiveTripletLoss(0.5, dtype="float64")
    expected = float(loss(labels, tensor(embeddings)))
    for large in (0, 10**9):
        monkeypatch.setattr(_pair_loss, "LARGE", large)
        np.testing.assert_allclose(numpy(run(loss, labels, embeddings)[0]), expected, rtol=1e-12)
    assert len(compiled) == 2


def test_what_xla_might_not_do_is_not_compiled(compiled):
    labels, embeddings = batch()

    class Own(Hard):
        def select(self, ease, mask, side, threshold=None, dim=None):
            return super().select(ease, mask, side)

    for settings in (
        {"negatives": Own()},
        {"negatives": "all"},
        {"same_class": lambda labels, others: labels[:, None] == others[None, :]},
    ):
        run(keras_epos.NTXentLoss(**{"positives": "easy", "negatives": "hard"} | settings), labels, embeddings)
    assert not compiled


def test_it_is_compiled_in_graphs_that_are_not(compiled, monkeypatch):
    import tensorflow as tf

    labels, embeddings = batch()
    loss = keras_epos.EasyPositiveTripletLoss()
    loss(labels, tensor(embeddings))
    run(loss, labels, embeddings, jit_compile=True)
    assert not compiled
    for settings in (
        {"ignore_label": 99},
        {"positives": Easy(2)},
        {"negatives": Hard(2)},
        {"negatives": SemiHard("skip")},
        {"same_class": same_class.equal},
    ):
        del compiled[:]
        run(keras_epos.TripletLoss(**{"positives": "easy", "negatives": "hard"} | settings), labels, embeddings)
        assert len(compiled) == 1
    del compiled[:]
    # Each number of rows would be compiled anew.
    signature = [tf.TensorSpec([None], "int64"), tf.TensorSpec([None, embeddings.shape[1]], "float64")]
    run(loss, labels, embeddings, input_signature=signature)
    monkeypatch.setattr(_compiler, "MANY", len(labels) + 1)
    run(loss, labels, embeddings)
    monkeypatch.setattr(_compiler, "MANY", 1)
    with monkeypatch.context() as patch:
        patch.setattr(_compiler, "is_on_cpu", lambda rows: False)
        run(loss, labels, embeddings)
    monkeypatch.setattr(_compiler, "_has_xla", lambda: False)
    run(loss, labels, embeddings)
    assert not compiled


def test_a_tensorflow_that_does_not_compile_makes_graphs(monkeypatch):
    import tensorflow as tf

    def fails(*arguments, **settings):
        raise tf.errors.UnimplementedError(None, None, "could not find registered compiler for platform Host")

    assert _compiler._has_xla()
    monkeypatch.setattr(tf, "function", fails)
    assert not _compiler._has_xla.__wrapped__()


def test_fit_takes_it_by_itself(compiled):
    import keras

    labels = np.repeat(np.arange(8), 4)
    rows = np.random.default_rng(0).normal(size=(32, 5)).astype("float32")
    inputs = keras.Input((5,))
    model = keras_epos.MetricLearningModel(inputs, keras.layers.Dense(3)(inputs))
    model.compile("sgd", loss=keras_epos.EasyPositiveTripletLoss())
    batches = keras_epos.data.balanced_batches(rows, labels, classes_per_batch=4, samples_per_class=4)
    before = numpy(model.layers[-1].kernel)
    model.fit(batches, epochs=2, verbose=0)
    assert len(compiled) == 1
    assert not np.array_equal(numpy(model.layers[-1].kernel), before)


@pytest.mark.parametrize("large", [0, 10**9])
def test_a_memory_is_read_before_it_is_written(large, compiled, monkeypatch):
    import keras

    monkeypatch.setattr(_pair_loss, "LARGE", large)
    labels = np.repeat(np.arange(8), 4)
    rows = np.random.default_rng(0).normal(size=(32, 5)).astype("float32")
    losses = {}
    for how in ("compiled", "eager"):
        inputs = keras.Input((5,))
        dense = keras.layers.Dense(3, kernel_initializer=keras.initializers.Orthogonal(seed=1))
        model = keras_epos.MetricLearningModel(inputs, dense(inputs))
        loss = keras_epos.CrossBatchMemory(keras_epos.EasyPositiveTripletLoss(), size=16)
        model.compile(keras.optimizers.SGD(0.5), loss=loss, run_eagerly=how == "eager")
        batches = keras_epos.data.balanced_batches(rows, labels, 4, 2, seed=3, with_ids=True)
        losses[how] = model.fit(batches, epochs=3, verbose=0).history["loss"]
    assert len(compiled) == 1
    np.testing.assert_allclose(losses["compiled"], losses["eager"], rtol=1e-5)
