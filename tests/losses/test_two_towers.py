"""Losses over pairs of a query and its document: value, gradients and weights equal the oracle's."""

import json
from functools import partial

import keras
import numpy as np
import pytest
from loss_cases import numpy, tensor, value_and_gradient

import keras_epos
from keras_epos import losses, reference
from keras_epos.losses import InfoNCELoss, SigLIPLoss

RANDOM = np.random.default_rng(5)
# Rows 1 and 4, and rows 2 and 6, show the same.
LABELS = np.array([0, 1, 2, 3, 1, 5, 2, 7])
CASES = {
    "InfoNCE": (partial(InfoNCELoss, 0.2), partial(reference.info_nce, temperature=0.2)),
    "InfoNCE one way": (
        partial(InfoNCELoss, 0.2, symmetric=False),
        partial(reference.info_nce, temperature=0.2, symmetric=False),
    ),
    "InfoNCE filtered": (
        partial(InfoNCELoss, 0.2, 0.1),
        partial(reference.info_nce, temperature=0.2, false_negative_margin=0.1),
    ),
    "SigLIP": (partial(SigLIPLoss, 0.2, -2.0), partial(reference.siglip, temperature=0.2, bias=-2.0)),
}


def batch(size=8, dim=3):
    queries = RANDOM.standard_normal((size, dim))
    return np.concatenate([queries, queries + RANDOM.standard_normal((size, dim))], axis=1)


def make(case, dtype="float64", **settings):
    loss = CASES[case][0](dtype=dtype, **settings)
    for layer in loss.adopt(6):
        # Keras initializes in float32.
        layer.weights[0].assign(np.log(5))
    return loss


@pytest.mark.parametrize("case", CASES)
def test_value_gradient_and_weights_equal_the_oracle(case):
    embeddings, labels = batch(), LABELS.copy()
    for ignored in (None, 3):
        of = partial(CASES[case][1], labels, ignore_label=ignored)
        expected = of(embeddings)
        loss = make(case, ignore_label=ignored)
        value, slope = value_and_gradient(loss, labels, tensor(embeddings))
        np.testing.assert_allclose(value, expected.mean(), rtol=1e-9)
        by_weights = reference.two_tower_gradient(expected, embeddings)
        np.testing.assert_allclose(numpy(slope), by_weights, rtol=1e-8, atol=1e-11)
        differences = reference.numerical_gradient(lambda rows, of=of: of(rows).mean(), embeddings)
        np.testing.assert_allclose(by_weights, differences, rtol=1e-5, atol=1e-8)
        weights = numpy(loss.pair_weights(labels, embeddings))
        np.testing.assert_allclose(weights, expected.weights, rtol=1e-8, atol=1e-12)
        assert (np.diag(weights) <= 0).all()
        assert (weights - np.diag(np.diag(weights)) >= 0).all()
        assert weights[1, 4] == weights[4, 1] == weights[2, 6] == 0
        assert np.count_nonzero(weights) > 10
        half = make(case, dtype="float32", ignore_label=ignored)
        np.testing.assert_allclose(
            numpy(half(labels, tensor(1e20 * embeddings, "float32"))), expected.mean(), rtol=1e-5
        )


@pytest.mark.parametrize("case", CASES)
def test_degenerate_batches(case):
    loss = make(case, dtype="float32")
    for labels, rows in (
        (np.zeros(0, int), np.zeros((0, 6))),
        (np.zeros(1, int), batch(1)),
        (np.zeros(4, int), batch(4)),
        (np.arange(4), np.zeros((4, 6))),
        (np.arange(4), np.ones((4, 6))),
        (np.arange(4), np.concatenate([np.ones((4, 3)), -np.ones((4, 3))], axis=1)),
    ):
        value, slope = value_and_gradient(loss, labels, tensor(rows, "float32"))
        assert np.isfinite(value)
        assert np.isfinite(numpy(slope)).all()
        np.testing.assert_allclose(value, CASES[case][1](labels, rows).mean(), rtol=1e-5)
    rows = batch()
    rows[2, 1] = np.nan
    assert np.isnan(numpy(loss(LABELS, rows)))
    rows[2] = np.nan
    ignoring = make(case, ignore_label=3)
    assert np.isfinite(numpy(ignoring(np.where(np.arange(8) == 2, 3, LABELS), rows)))


@pytest.mark.parametrize("case", ["InfoNCE filtered", "SigLIP"])
def test_weights_of_samples_and_configuration(case):
    embeddings, weight = batch(), np.linspace(0, 1, 8)
    loss = make(case, reduction="sum", ignore_label=-1, name="mine")
    expected = CASES[case][1](LABELS, embeddings).total @ weight
    np.testing.assert_allclose(numpy(loss(LABELS, embeddings, weight)), expected, rtol=1e-9)
    config = json.loads(json.dumps(loss.get_config()))
    again = keras.losses.deserialize(json.loads(json.dumps(keras.losses.serialize(loss))))
    assert type(again) is type(loss)
    assert again.get_config() == config


def test_false_negatives_by_similarity_are_left_out():
    query = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    document = np.array([[0.8, 0.6], [0.0, 1.0], [1.0, 0.0]])
    rows = np.concatenate([query, document], axis=1)
    weights = numpy(InfoNCELoss(0.5, 0.1, symmetric=False, dtype="float64").pair_weights(np.arange(3), rows))
    # Document 2 is query 0 itself, 0.2 nearer than its own; the documents 0 and 1 are nearer to query 2 than its own.
    np.testing.assert_array_equal(weights != 0, [[True, True, False], [True, True, True], [False, False, False]])


def test_siglip_by_hand():
    rows = np.array([[1.0, 0.0, 0.6, 0.8], [0.0, 1.0, 1.0, 0.0]])
    loss = make("SigLIP", reduction=None)
    expected = [np.log1p(np.exp(-(3.0 - 2))) + np.log1p(np.exp(5.0 - 2)), np.log1p(np.exp(2.0)) + np.log1p(np.exp(2.0))]
    np.testing.assert_allclose(numpy(loss(np.arange(2), rows)), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("loss", "settings", "message"),
    [
        ("info_nce", {"temperature": 0}, "`temperature` must be positive"),
        ("info_nce", {"false_negative_margin": -0.1}, "`false_negative_margin` must be in .* Pass None"),
        ("siglip", {"temperature": 0}, "`temperature` must be positive"),
        ("siglip", {"bias": "low"}, "`bias` must be"),
    ],
)
def test_settings_out_of_range(loss, settings, message):
    with pytest.raises(ValueError, match=message):
        losses.get(loss, **settings)


@pytest.mark.parametrize("dims", [2, 5])
def test_an_output_that_is_no_pair_is_refused(dims):
    with pytest.raises(ValueError, match=r"`y_pred` must be the query's embedding .*Concatenate"):
        InfoNCELoss()(np.arange(4), np.ones((4, dims)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("loss", [InfoNCELoss(0.1), SigLIPLoss()])
def test_two_towers_learn_with_the_weights_of_the_loss(loss, tmp_path):
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(5)
    hidden = random.standard_normal((256, 4))
    sides = [hidden @ random.standard_normal((4, 6)), hidden @ random.standard_normal((4, 5))]
    inputs = [keras.Input((6,)), keras.Input((5,))]
    towers = [keras.layers.Dense(8)(one) for one in inputs]
    model = keras_epos.MetricLearningModel(inputs, keras.layers.Concatenate()(towers))
    model.compile(keras.optimizers.Adam(0.05), loss=loss)
    before = [numpy(weight) for layer in loss.adopt() for weight in layer.weights]
    first = model.fit(sides, np.arange(256), batch_size=64, epochs=2, verbose=0).history
    # After two epochs: later they come back to near where they began.
    after = [numpy(weight) for layer in loss.adopt() for weight in layer.weights]
    assert all(abs(one - other) > 0.02 for one, other in zip(before, after, strict=True))
    history = model.fit(sides, np.arange(256), batch_size=64, epochs=8, verbose=0).history
    assert history["positive_similarity"][-1] > first["positive_similarity"][0] + 0.3
    assert set(loss.statistic_names) < set(history)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    outputs = model.predict(sides, verbose=0)
    np.testing.assert_allclose(numpy(again.loss(np.arange(256), outputs)), numpy(loss(np.arange(256), outputs)))
