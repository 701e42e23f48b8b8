"""Large batches are mined a strip of anchors at a time: the same as with a matrix of all pairs, in less memory."""

import os
import subprocess
import sys

import numpy as np
import pytest
from loss_cases import FEW_ON_JAX, LOSSES, ON_JAX, batch, make, numpy, tensor, traceable, value_and_gradient

import keras_epos
from keras_epos.losses import _pair_loss, _strips

CHOSEN = [("easy", "hard"), ("easy", "semi_hard"), ("easy 2", "hard 2"), ("hard", "semi_hard skip"), ("hard", "easy")]


@pytest.fixture
def sizes(monkeypatch):
    """Strips of 5 of any batch, and the shapes of the matrices of similarities that were made."""
    shapes = []

    def recorded(products):
        def recording(*sides):
            found = products(*sides)
            shapes.append(found.shape)
            return found

        return recording

    for name in ("products", "products_of_all"):
        monkeypatch.setattr(_pair_loss, name, recorded(getattr(_pair_loss, name)))
    monkeypatch.setattr(_strips, "STRIP", 5)
    monkeypatch.setattr(_pair_loss, "LARGE", 0)
    return shapes


def in_one_piece(monkeypatch):
    monkeypatch.setattr(_pair_loss, "LARGE", 10**9)


@pytest.mark.parametrize("loss", FEW_ON_JAX)
def test_strips_change_nothing(loss, sizes, monkeypatch):
    labels, embeddings = batch(seed=11)
    labels[2] = -1
    place, values = list(LOSSES).index(loss), []
    for positives, negatives in (CHOSEN[place % 5], CHOSEN[(place + 1) % 5])[: 1 if ON_JAX else 2]:
        if not LOSSES[loss].has_triplets and positives == "easy 2":
            negatives = "hard 2"
        made = make(loss, positives, negatives, ignore_label=-1, average_over="valid")
        del sizes[:]
        value, slope = value_and_gradient(made, labels, tensor(embeddings))
        result = made.result(labels, tensor(embeddings))
        # The angular loss and the lifted structure ask for all products themselves.
        assert (5, 12) in sizes
        assert loss.startswith(("angular", "lifted")) or {shape[0] for shape in sizes} == {5}
        with monkeypatch.context() as patch:
            in_one_piece(patch)
            expected, expected_slope = value_and_gradient(made, labels, tensor(embeddings))
            whole = made.result(labels, tensor(embeddings))
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        np.testing.assert_allclose(numpy(slope), numpy(expected_slope), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(numpy(result.values), numpy(whole.values), rtol=1e-12)
        for name, statistic in whole.statistics.items():
            np.testing.assert_allclose(numpy(result.statistics[name]), numpy(statistic), rtol=1e-12)
        values.append(value)
    assert max(values) > 0


@pytest.mark.parametrize("loss", ["published EPHN", "EPHN semi-hard", "rows of labels", "euclidean raw"])
def test_strips_change_nothing_where_losses_select_for_themselves(loss, sizes, monkeypatch):
    labels, embeddings = batch(seed=12)
    made = {
        "published EPHN": keras_epos.losses.EasyPositiveHardNegativeLoss(dtype="float64"),
        "EPHN semi-hard": keras_epos.losses.EasyPositiveHardNegativeLoss(semi_hard=True, dtype="float64"),
        "rows of labels": make("margin", "easy", "hard", same_class="share_a_label"),
        "euclidean raw": make("N-pairs", "easy", "hard", ignore_label=99),
    }[loss]
    if loss == "rows of labels":
        labels = np.eye(4, dtype=int)[labels]
    value, slope = value_and_gradient(made, labels, tensor(embeddings))
    assert {shape[0] for shape in sizes} == {5}
    in_one_piece(monkeypatch)
    expected, expected_slope = value_and_gradient(made, labels, tensor(embeddings))
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(numpy(slope), numpy(expected_slope), rtol=1e-9, atol=1e-12)
    assert value > 0


def test_what_is_drawn_or_taken_whole_is_not_cut(sizes):
    labels, embeddings = batch()
    for positives, negatives in (("all", "hard"), ("easy", "all"), ("easy", "random"), ("random", "hard")):
        del sizes[:]
        keras_epos.NTXentLoss(positives=positives, negatives=negatives)(labels, tensor(embeddings, "float32"))
        assert {shape[0] for shape in sizes} == {12}


@pytest.mark.parametrize("negatives", ["all", "random"])
def test_what_cannot_be_cut_is_refused_before_memory_runs_out(negatives, sizes, monkeypatch):
    labels, embeddings = batch()
    made = keras_epos.NTXentLoss(positives="easy", negatives=negatives)
    monkeypatch.setattr(_pair_loss, "TOO_LARGE", 12 * 12)
    made(labels, tensor(embeddings, "float32"))
    monkeypatch.setattr(_pair_loss, "TOO_LARGE", 12 * 12 - 1)
    with pytest.raises(
        ValueError, match=r'at most 143 pairs.*Received: 12 rows and 12 ref.*Choose pairs.*positives="easy"'
    ):
        made(labels, tensor(embeddings, "float32"))
    keras_epos.NTXentLoss(positives="easy", negatives="hard")(labels, tensor(embeddings, "float32"))


def test_small_batches_stay_whole_and_large_ones_do_not(sizes, monkeypatch):
    monkeypatch.undo()
    made = keras_epos.EasyPositiveTripletLoss()
    assert not made._is_mined_in_strips(_pair_loss.LARGE)
    assert made._is_mined_in_strips(_pair_loss.LARGE + 1)


@pytest.mark.backend("tensorflow", reason="batches of a size that the graph does not know")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_graphs_for_batches_of_any_size(sizes, monkeypatch, jit_compile):
    import tensorflow as tf

    made = keras_epos.EasyPositiveTripletLoss(dtype="float64")

    both = traceable(made)
    signature = [tf.TensorSpec([None], "int64"), tf.TensorSpec([None, 5], "float64")]
    traced = tf.function(both, input_signature=signature, jit_compile=jit_compile)
    labels, embeddings = batch(seed=13, classes=(8, 7, 6, 2))
    with monkeypatch.context() as patch:
        in_one_piece(patch)
        patch.setattr(keras_epos.EasyPositiveTripletLoss, "_is_mined_in_strips", lambda self, num_pairs: False)
        expected = [value_and_gradient(made, labels[:size], tensor(embeddings[:size])) for size in (23, 5, 3, 1)]
    for size, (value, slope) in zip((23, 5, 3, 1), expected, strict=True):
        found, found_slope = traced(labels[:size], embeddings[:size])
        np.testing.assert_allclose(found, value, rtol=1e-12)
        np.testing.assert_allclose(found_slope, slope, rtol=1e-9, atol=1e-12)


MEMORY = """
import resource, sys
import keras, numpy as np
import keras_epos
from keras_epos._gradient import gradient

def step(size):
    labels = np.arange(size) // 4
    rows = keras.ops.convert_to_tensor(np.random.default_rng(0).standard_normal((size, 8)).astype("float32"))
    loss = keras_epos.EasyPositiveTripletLoss()
    assert np.isfinite(keras.ops.convert_to_numpy(gradient(lambda x: loss(labels, x), rows))).all()

step(1500)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
step(12000)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print("grown", grown / (2**20 if sys.platform == "darwin" else 2**10))
"""


@pytest.mark.skipif(ON_JAX, reason="JAX compiles each shape; the two others tell")
def test_memory_grows_with_the_batch_and_not_with_its_square():
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        # What is freed goes back at once: the C library keeps it otherwise, gigabytes on PyTorch.
        "MALLOC_MMAP_THRESHOLD_": "1000000",
    }
    done = subprocess.run([sys.executable, "-c", MEMORY], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    # A matrix of all pairs has 576 MB.
    assert float(done.stdout.split("grown ")[1]) < 200
