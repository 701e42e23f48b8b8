"""EPHN and EPSHN as released: which anchors count, which pairs they have, and what remains of the common checks."""

import json

import keras
import numpy as np
import pytest
from loss_cases import batch, numpy, tensor, tied_batch, value_and_gradient

from keras_epos import reference
from keras_epos.losses import EasyPositiveHardNegativeLoss, NTXentLoss
from keras_epos.mining import SemiHard

BOTH = pytest.mark.parametrize("semi_hard", [False, True])


def loss(semi_hard=False, dtype="float64", **settings):
    return EasyPositiveHardNegativeLoss(0.2, semi_hard, dtype=dtype, **settings)


def oracle(labels, embeddings, semi_hard=False, **settings):
    return reference.easy_positive_hard_negative(labels, embeddings, 0.2, semi_hard, **settings)


@BOTH
def test_value_gradient_and_weights_equal_the_oracle(semi_hard):
    dropped = 0
    for seed in range(3):
        labels, embeddings = batch(seed)
        labels[2] = -1
        expected = oracle(labels, embeddings, semi_hard, ignore_label=-1)
        made = loss(semi_hard, ignore_label=-1)
        value, gradient = value_and_gradient(made, labels, tensor(embeddings))
        np.testing.assert_allclose(value, expected.mean(), rtol=1e-9)
        np.testing.assert_allclose(numpy(gradient), reference.gradient(expected, embeddings), rtol=1e-7, atol=1e-10)
        np.testing.assert_allclose(numpy(made.pair_weights(labels, embeddings)), expected.weights, atol=1e-12)
        numerical = reference.numerical_gradient(
            lambda rows, ids=labels: oracle(ids, rows, semi_hard, ignore_label=-1).mean(), embeddings
        )
        np.testing.assert_allclose(numpy(gradient), numerical, rtol=1e-5, atol=1e-7)
        dropped += np.sum(expected.valid == 0) - np.sum(labels < 0) - np.sum(labels == 3)
        in_float32 = loss(semi_hard, "float32", ignore_label=-1)(labels, tensor(embeddings, "float32"))
        np.testing.assert_allclose(numpy(in_float32), expected.mean(), rtol=1e-5)
    assert dropped > 0


@BOTH
def test_ties_and_copies_equal_the_oracle(semi_hard):
    for seed in range(4):
        labels, embeddings = tied_batch(seed)
        expected = oracle(labels, embeddings, semi_hard)
        found = loss(semi_hard).terms(tensor(labels, "int32"), tensor(embeddings))
        np.testing.assert_allclose(numpy(found.total), expected.total, rtol=1e-9)
        np.testing.assert_array_equal(numpy(found.valid), expected.valid)


def rows(*degrees):
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


@pytest.mark.parametrize(
    ("degrees", "counts"),
    [
        ([0, 60, 45], True),
        ([0, 60, 91], False),  # the negative is not similar at all
        ([0, 91, 60], False),  # nor is the positive
        ([0, 0.5, 45], False),  # a copy, and no other positive
    ],
)
def test_which_anchors_count(degrees, counts):
    value = loss(reduction=None)(np.array([0, 0, 1]), rows(*degrees))
    assert bool(numpy(value)[0] > 0) is counts


def test_semi_hard_takes_a_negative_as_near_as_the_positive():
    # Both are at a right angle's half from the anchor, with the same entries, so the tie is exact.
    labels, embeddings = np.array([0, 0, 1]), np.array([[1.0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5]])
    assert numpy(loss(True, reduction=None)(labels, embeddings))[0] == pytest.approx(np.log(2))
    strict = NTXentLoss(0.2, "easy", SemiHard("skip"), reduction=None, dtype="float64")
    assert numpy(strict(labels, embeddings))[0] == 0


def test_semi_hard_drops_an_anchor_whose_negatives_are_all_nearer_than_its_positive():
    # The anchor is the second row. The first, its one negative, is what a choice among none would fall on.
    assert numpy(loss(True, reduction=None)(np.array([1, 0, 0]), rows(45, 0, 60)))[1] == 0


@pytest.mark.parametrize(("semi_hard", "negatives"), [(False, "hard"), (True, SemiHard("skip"))])
def test_it_is_nt_xent_but_for_the_anchors_that_it_drops(semi_hard, negatives):
    labels, embeddings = np.array([0, 0, 0, 1, 1, 2, 2]), rows(0, 20, 76, 100, 130, 205, 303)
    settings = {"reduction": None, "dtype": "float64"}
    expected = numpy(NTXentLoss(0.2, "easy", negatives, **settings)(labels, embeddings))
    found = numpy(loss(semi_hard, reduction=None)(labels, embeddings))
    kept = [0, 1, 3, 4] if semi_hard else [0, 1, 2, 3, 4]
    assert np.flatnonzero(found).tolist() == kept
    np.testing.assert_allclose(found[kept], expected[kept], rtol=1e-12)
    assert expected.all()


@BOTH
@pytest.mark.parametrize(
    ("labels", "embeddings"),
    [
        (np.zeros(4, int), rows(0, 10, 20, 30)),
        (np.arange(4), rows(0, 10, 20, 30)),
        (np.zeros(1, int), rows(0)),
        (np.arange(4) % 2, np.zeros((4, 2))),
        (np.arange(4) % 2, np.ones((4, 2))),
        (np.arange(4) // 2, rows(0, 0, 40, 40)),
        (np.arange(4) // 2, rows(0, 10, 180, 190)),
    ],
    ids=["one class", "all distinct", "one row", "zeros", "collapsed", "copies", "all negatives opposite"],
)
def test_zero_and_not_nan_when_no_anchor_is_kept(labels, embeddings, semi_hard):
    value, gradient = value_and_gradient(loss(semi_hard, "float32"), labels, tensor(embeddings, "float32"))
    assert value == 0
    assert not numpy(gradient).any()


@BOTH
def test_config_has_what_the_constructor_takes_and_no_strategies(semi_hard):
    made = loss(semi_hard, ignore_label=-1, name="mine", reduction="sum", same_class="share_a_label")
    config = json.loads(json.dumps(made.get_config()))
    assert not {"positives", "negatives", "average_over"} & set(config)
    again = keras.losses.deserialize(json.loads(json.dumps(keras.losses.serialize(made))))
    assert again.get_config() == config == type(made).from_config(config).get_config()
    labels, embeddings = batch()
    labels = np.eye(4, dtype=int)[labels]
    assert numpy(again(labels, embeddings)) == numpy(made(labels, embeddings)) > 0


def test_strategies_are_no_arguments():
    for side in ("positives", "negatives"):
        with pytest.raises(ValueError, match=f"`{side}` must be left out: .* take keras_epos.NTXentLoss"):
            EasyPositiveHardNegativeLoss(**{side: "easy"})
    with pytest.raises(TypeError, match="has no argument `margin`"):
        EasyPositiveHardNegativeLoss(margin=0.1)


@BOTH
@pytest.mark.backend("tensorflow", reason="tf.function")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_equals_eager(semi_hard, jit_compile):
    import tensorflow as tf

    labels, embeddings = batch()
    made = loss(semi_hard)
    signature = None if jit_compile else [tf.TensorSpec([None], "int64"), tf.TensorSpec([None, 5], "float64")]
    compiled = tf.function(made, input_signature=signature, jit_compile=jit_compile, autograph=False)
    found = compiled(tensor(labels, "int64"), tensor(embeddings))
    np.testing.assert_allclose(numpy(found), numpy(made(labels, embeddings)), rtol=1e-9)
