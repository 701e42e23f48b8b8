"""A loss given by its pair weights has the gradient of the loss it takes them from."""

import keras
import numpy as np
import pytest
from keras import ops
from loss_cases import batch, numpy, tensor, value_and_gradient

from keras_epos import losses, reference
from keras_epos.losses import PairWeightingLoss

LABELS, EMBEDDINGS = batch()


@keras.saving.register_keras_serializable("tests")
def binomial(positives, negatives):
    return ops.sigmoid(2 * (0.5 - positives.similarity)), ops.sigmoid(40 * (negatives.similarity - 0.5))


@keras.saving.register_keras_serializable("tests")
def multi_similarity(positives, negatives):
    """Wang et al. 2019 without the mining step."""
    pull = ops.where(positives.mask, ops.exp(-2 * (positives.similarity - 0.5)), 0)
    push = ops.where(negatives.mask, ops.exp(40 * (negatives.similarity - 0.5)), 0)
    return tuple(weights / (1 + ops.sum(weights, axis=-1, keepdims=True)) for weights in (pull, push))


@keras.saving.register_keras_serializable("tests")
def never(positives, negatives):
    return ops.zeros_like(positives.similarity), ops.zeros_like(negatives.similarity)


@pytest.mark.parametrize(("positives", "negatives"), [("all", "all"), ("easy", "all"), ("easy", "semi_hard")])
def test_gradient_and_weights_are_those_of_the_loss_with_these_weights(positives, negatives):
    settings = {"positives": positives, "negatives": negatives, "dtype": "float64"}
    known = losses.MultiSimilarityLoss(epsilon=None, **settings)
    made = PairWeightingLoss(multi_similarity, **settings)
    expected, found = (value_and_gradient(loss, LABELS, tensor(EMBEDDINGS))[1] for loss in (known, made))
    np.testing.assert_allclose(numpy(found), numpy(expected), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        numpy(made.pair_weights(LABELS, EMBEDDINGS)), numpy(known.pair_weights(LABELS, EMBEDDINGS)), atol=1e-12
    )


def test_value_is_the_sum_of_weight_times_similarity():
    weights = reference.multi_similarity(LABELS, EMBEDDINGS, epsilon=None).weights
    expected = (weights * reference.cosine(EMBEDDINGS)).sum(axis=1)
    values = numpy(PairWeightingLoss(multi_similarity, reduction=None, dtype="float64")(LABELS, EMBEDDINGS))
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-9)


def test_weights_outside_the_mask_are_not_looked_at():
    cosine = reference.cosine(EMBEDDINGS)
    pull, push = 1 / (1 + np.exp(2 * (cosine - 0.5))), 1 / (1 + np.exp(40 * (0.5 - cosine)))
    signed = np.where(LABELS[:, None] == LABELS, -pull, push) * cosine
    np.fill_diagonal(signed, 0)
    expected = signed.sum(axis=1) * (LABELS != 3)  # of which there is one sample
    values = numpy(PairWeightingLoss(binomial, reduction=None, dtype="float64")(LABELS, EMBEDDINGS))
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-9)


def test_anchors_at_rest_count_in_a_mean_over_the_valid():
    def far(positives, negatives):
        return ops.cast(positives.similarity < 0, "float64"), ops.zeros_like(negatives.similarity)

    valid, active = (PairWeightingLoss(far, average_over=over, dtype="float64") for over in ("valid", "active"))
    share = float(numpy(valid.result(LABELS, tensor(EMBEDDINGS)).statistics["active_anchors"]))
    assert 0 < share < 1
    np.testing.assert_allclose(numpy(valid(LABELS, EMBEDDINGS)), share * numpy(active(LABELS, EMBEDDINGS)), rtol=1e-9)


def test_terms_at_rest():
    made = PairWeightingLoss(never, average_over="active")
    value, slope = value_and_gradient(made, LABELS, tensor(EMBEDDINGS, "float32"))
    assert value == 0
    assert not numpy(slope).any()
    assert float(numpy(made.result(LABELS, tensor(EMBEDDINGS, "float32")).statistics["active_anchors"])) == 0


def test_config_and_saved_models(tmp_path):
    made = PairWeightingLoss(binomial, positives="easy")
    again = PairWeightingLoss.from_config(made.get_config())
    assert again.weight_fn is binomial
    assert numpy(again(LABELS, EMBEDDINGS)) == numpy(made(LABELS, EMBEDDINGS))
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile("sgd", loss=made)
    model.fit(EMBEDDINGS, LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").loss.weight_fn is binomial


def test_learning_raises_the_similarity_of_positives():
    keras.utils.set_random_seed(0)
    labels, inputs = batch(classes=(8, 8, 8))
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    made = PairWeightingLoss(binomial)
    model.compile("adam", loss=made)
    history = model.fit(inputs, labels, batch_size=24, epochs=20, verbose=0, shuffle=False).history["loss"]
    assert history[-1] < history[0]


def test_what_is_no_function():
    with pytest.raises(ValueError, match="`weight_fn` must be a function"):
        PairWeightingLoss("binomial")
