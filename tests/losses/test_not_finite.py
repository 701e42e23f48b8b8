"""NaN and infinity: never a loss that looks like success, and never from a row that is to be ignored."""

import keras
import numpy as np
import pytest
from loss_cases import ON_JAX, numpy, tensor, value_and_gradient

import keras_epos
from keras_epos import losses
from keras_epos.losses import KoLeoPenalty, MarginLoss, NormPenalty, SpreadOutPenalty, WeightedSum, ZeroMeanPenalty
from keras_epos.losses._names import required_arguments

LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2])
ROWS = np.random.default_rng(0).standard_normal((8, 4)).astype("float32")
# Row 5 is the one that breaks.
HURT = {"one NaN": (5, np.nan), "one infinity": (5, np.inf), "all NaN": (slice(None), np.nan)}


def pull_all(positives, negatives):
    return keras.ops.ones_like(positives.similarity), keras.ops.ones_like(negatives.similarity)


def by_name(name):
    required = dict.fromkeys(required_arguments(losses.LOSSES[name]), 3)
    return lambda **settings: losses.get(name, **required, **settings)


MAKERS = {name: by_name(name) for name in losses.LOSSES} | {
    "hierarchical triplet": lambda **settings: losses.HierarchicalTripletLoss(3, **settings),
    "margin of a class": lambda **settings: MarginLoss(learn_boundary="class", num_classes=3, **settings),
    "center": lambda **settings: losses.CenterLoss(3, **settings),
    "pair weighting": lambda **settings: losses.PairWeightingLoss(pull_all, **settings),
    "norm": NormPenalty,
    "zero mean": ZeroMeanPenalty,
    "KoLeo": KoLeoPenalty,
    "spread out": SpreadOutPenalty,
    "sum": lambda **settings: WeightedSum(
        {"a": losses.TripletLoss(**settings), "b": losses.ProxyAnchorLoss(3, **settings)}, {"b": 0}
    ),
    "memory": lambda **settings: losses.CrossBatchMemory(
        losses.EasyPositiveTripletLoss(**settings), 8, memory_positives=False
    ),
}
# On JAX each operation is compiled at its first use.
SOME = ["contrastive", "multi_similarity", "proxy_anchor", "margin of a class", "KoLeo", "sum", "memory"]


def made(name, **settings):
    if name.startswith("margin"):
        settings["negatives"] = "hard"
    if name.startswith("elastic"):
        # Draws fall on other rows where some are left out.
        settings["std"] = 0.0
    keras.utils.set_random_seed(0)
    loss = MAKERS[name](**settings)
    loss.adopt(4)
    return loss


def hurt(case):
    rows, (place, value) = ROWS.copy(), HURT[case]
    rows[place] = value
    return rows


@pytest.mark.parametrize("name", SOME if ON_JAX else MAKERS)
def test_not_finite_in_nan_out(name):
    loss = made(name)
    assert np.isfinite(numpy(loss(LABELS, ROWS)))
    for case in HURT:
        assert np.isnan(numpy(loss(LABELS, hurt(case)))), case
    assert np.isnan(numpy(loss(LABELS, ROWS, sample_weight=[1, 1, 1, np.nan, 1, 1, 1, 1])))
    # What came in between left nothing behind.
    assert np.isfinite(numpy(loss(LABELS, ROWS)))
    if loss.num_classes is None and name != "sum":
        assert np.isnan(numpy(loss(np.arange(8), hurt("one NaN"))))


@pytest.mark.parametrize("name", SOME if ON_JAX else MAKERS)
def test_rows_to_ignore_touch_neither_value_nor_gradient(name):
    labels = np.where(np.arange(8) == 5, 7, LABELS)
    expected, slope = value_and_gradient(made(name, ignore_label=7), labels, tensor(ROWS, "float32"))
    if name != "memory":
        kept = labels != 7
        np.testing.assert_allclose(numpy(made(name)(labels[kept], ROWS[kept])), expected, rtol=1e-5, atol=1e-6)
    for value in (np.nan, np.inf):
        rows = ROWS.copy()
        rows[5] = value
        found, found_slope = value_and_gradient(made(name, ignore_label=7), labels, tensor(rows, "float32"))
        assert found == expected
        np.testing.assert_array_equal(numpy(found_slope), numpy(slope))
    assert not numpy(slope)[5].any()
    assert np.isfinite(numpy(slope)).all()


def test_without_reduction_every_row_is_nan():
    for name in ("triplet", "arc_face", "norm"):
        values = numpy(made(name, reduction=None)(LABELS, hurt("one NaN")))
        assert values.shape == (8,)
        assert np.isnan(values).all()


def test_weights_of_the_loss_that_are_not_finite():
    for name, position in (("proxy_anchor", (1, 0)), ("margin of a class", 1)):
        loss = made(name)
        weight = loss.adopt(4)[0].weights[0]
        broken = numpy(weight).copy()
        broken[position] = np.nan
        weight.assign(broken)
        assert np.isnan(numpy(loss(LABELS, ROWS))), name
    # The boundary of class 1, of which the batch has no sample.
    assert np.isnan(numpy(loss(LABELS // 2 * 2, ROWS)))


@pytest.mark.backend("tensorflow", "jax", reason="PyTorch runs eagerly")
def test_compiled_code_turns_nan_too():
    out_of_range = {"proxy_anchor", "margin of a class"}
    for name in ["contrastive", "proxy_anchor", "margin of a class"]:
        loss = made(name)
        for run, is_xla in compiled(loss):
            assert np.isfinite(numpy(run(tensor(LABELS, "int32"), tensor(ROWS, "float32"))))
            for case in HURT:
                assert np.isnan(numpy(run(tensor(LABELS, "int32"), tensor(hurt(case), "float32")))), (name, case)
            if name in out_of_range and is_xla:
                for wrong in (np.array([0, 0, 0, 1, 1, 1, 2, 3]), LABELS + 3, np.arange(8) + 3):
                    assert np.isnan(numpy(run(tensor(wrong, "int32"), tensor(ROWS, "float32")))), (name, wrong)


def compiled(loss):
    """Pairs of a compiled `(labels, rows) -> loss` and whether it cannot raise."""
    if ON_JAX:
        import jax

        return [(jax.jit(loss), True)]
    import tensorflow as tf

    signature = [tf.TensorSpec([None], "int32"), tf.TensorSpec([None, 4], "float32")]
    graph = tf.function(loss, input_signature=signature)
    return [(tf.function(loss, jit_compile=True), True)] if loss.num_classes else [(graph, False)]


def test_a_diverged_network_stops():
    rows = ROWS.copy()
    rows[5] = np.nan
    model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)]), 4)
    model.compile("sgd", loss=losses.EasyPositiveTripletLoss())
    history = model.fit(
        rows, LABELS, batch_size=8, epochs=3, verbose=0, callbacks=[keras.callbacks.TerminateOnNaN()]
    ).history
    assert len(history["loss"]) == 1
    assert np.isnan(history["loss"][0])
