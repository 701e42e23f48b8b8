"""Sums of losses, and the penalties that are made for them."""

import json
import warnings

import keras
import numpy as np
import pytest
from loss_cases import batch, numpy, tensor, value_and_gradient

import keras_epos
from keras_epos import losses, reference
from keras_epos.losses import KoLeoPenalty, NormPenalty, SpreadOutPenalty, WeightedSum, ZeroMeanPenalty

LABELS, EMBEDDINGS = batch()


def parts():
    return {
        "pairs": losses.ContrastiveLoss(0.9, 0.3, dtype="float64"),
        "easy": losses.NTXentLoss(0.2, "easy", dtype="float64"),
        "norm": NormPenalty(dtype="float64"),
    }


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", None])
def test_value_and_gradient_are_the_weighted_sum(reduction):
    made, single = WeightedSum(parts(), {"easy": 0.3, "norm": 0.01}, reduction=reduction), parts()
    weight = np.linspace(0, 1, len(LABELS))
    expected = 0
    for name, factor in (("pairs", 1), ("easy", 0.3), ("norm", 0.01)):
        single[name].reduction = reduction
        expected = expected + factor * numpy(single[name](LABELS, EMBEDDINGS, weight))
    np.testing.assert_allclose(numpy(made(LABELS, EMBEDDINGS, weight)), expected, rtol=1e-9)
    if reduction is not None:
        of_parts = [
            factor * numpy(value_and_gradient(single[name], LABELS, tensor(EMBEDDINGS))[1])
            for name, factor in (("pairs", 1), ("easy", 0.3), ("norm", 0.01))
        ]
        _, slope = value_and_gradient(made, LABELS, tensor(EMBEDDINGS))
        np.testing.assert_allclose(numpy(slope), sum(of_parts), rtol=1e-9, atol=1e-12)


def test_logs_name_the_terms_and_weights_of_losses_are_trained(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((5,)), keras.layers.Dense(6)]), 4)
    boundary = losses.MarginLoss(learn_boundary="global", negatives="hard")
    loss = WeightedSum({"margin": boundary, "spread": SpreadOutPenalty(), "near": KoLeoPenalty()}, {"near": 0.1})
    model.compile(keras.optimizers.SGD(0.1), loss=loss)
    logs = {key: values[0] for key, values in model.fit(EMBEDDINGS, LABELS, batch_size=12, verbose=0).history.items()}
    assert set(logs) == {"loss", "valid_anchors", "margin", "spread", "near"}
    assert logs["valid_anchors"] == 1
    assert logs["loss"] == pytest.approx(logs["margin"] + logs["spread"] + 0.1 * logs["near"], rel=1e-5)
    (layer,) = boundary.adopt()
    assert abs(numpy(layer.weights[0])[0] - 1.2) > 1e-4
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.loss.get_config() == loss.get_config()
    fit = {"batch_size": 12, "verbose": 0}
    expected = model.fit(EMBEDDINGS, LABELS, **fit).history
    assert again.fit(EMBEDDINGS, LABELS, **fit).history["margin"] == pytest.approx(expected["margin"], rel=1e-5)


def test_the_share_of_valid_anchors_is_that_of_the_term_with_most():
    labels, rows = np.array([0, 0, 1, 2]), EMBEDDINGS[:4]
    pairs, ignoring = losses.TripletLoss(0.2), NormPenalty(ignore_label=2)
    for terms, expected in (({"a": pairs}, 0.5), ({"a": pairs, "b": ignoring}, 0.75)):
        made = WeightedSum(terms)
        result = made.result(labels, rows)
        assert numpy(result.statistics["valid_anchors"]) == expected
        assert numpy(result.logs()["a"][1]) == 0.5
        assert numpy(made.result(np.arange(3), rows[:3]).logs()["a"][1]) == 0


def test_config_round_trip():
    made = WeightedSum(parts(), {"easy": 0.3}, name="both")
    config = json.loads(json.dumps(made.get_config()))
    again = WeightedSum.from_config(config)
    assert again.get_config() == config
    assert numpy(again(LABELS, EMBEDDINGS)) == numpy(made(LABELS, EMBEDDINGS))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({"a": None},), "`losses` must be a dictionary of name to loss, of keras_epos or Keras"),
        (({"a": losses.TripletLoss},), "`losses` must be a dictionary"),
        (({"a": "tripplet"},), "Did you mean 'triplet'"),
        (({"a": "circle"},), r"keras_epos\.CircleLoss"),
        (({"loss": "triplet"},), "that the logs do not have already.*'loss'"),
        (({"a_b": "mse", "a": WeightedSum({"b": "mse"})},), "'a_b' twice"),
        (({},), "at least one"),
        (({"a": losses.TripletLoss()}, {"b": 1}), "`weights` must name losses of"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        WeightedSum(*arguments)


# --- losses of Keras, and sums in sums ---


def crossentropy(logits):
    """Of each row with its label, `(B,)`."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(LABELS)), LABELS]


@keras.saving.register_keras_serializable("tests")
def squares(y_true, y_pred):
    """`(B, D)`: of a row, its mean counts."""
    return keras.ops.square(y_pred)


@keras.saving.register_keras_serializable("tests")
class MeanOfBatch(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean(y_pred - y_true[:, None])


def mixed(**settings):
    terms = {
        "pairs": losses.ContrastiveLoss(0.9, 0.3, dtype="float64"),
        "classes": keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float64"),
        "squares": squares,
        "batch": MeanOfBatch(dtype="float64"),
    }
    return WeightedSum(terms, {"classes": 0.3, "squares": 2, "batch": 0.1}, **settings)


def test_losses_of_keras_are_weighted_and_reduced_as_ours():
    logits = np.concatenate([EMBEDDINGS, -EMBEDDINGS], axis=1)
    assert LABELS.max() < logits.shape[1]
    weight = np.linspace(0, 1, len(LABELS))
    values = 0.3 * crossentropy(logits) + 2 * (logits**2).mean(axis=1) + 0.1 * (logits - LABELS[:, None]).mean()
    for reduction, of_keras in (
        ("sum_over_batch_size", (values * weight).mean()),
        ("mean_with_sample_weight", (values * weight).sum() / weight.sum()),
        ("sum", (values * weight).sum()),
        (None, values * weight),
    ):
        made = mixed(reduction=reduction)
        pairs = losses.ContrastiveLoss(0.9, 0.3, dtype="float64", reduction=reduction)
        expected = numpy(pairs(LABELS, logits, weight)) + of_keras
        # Keras takes means in float32 on some backends.
        np.testing.assert_allclose(numpy(made(LABELS, logits, weight)), expected, rtol=2e-6)
        assert made.dtype == "float64"
    np.testing.assert_allclose(numpy(made.call(LABELS, logits)), numpy(pairs.call(LABELS, logits)) + values, rtol=2e-6)
    logs = made.result(LABELS, logits).logs(weight)
    assert float(numpy(logs["squares"][0])) == pytest.approx(((logits**2).mean(axis=1) * weight).mean())
    logits[0, 0] = np.nan
    assert np.isnan(numpy(WeightedSum({"labels": lambda labels, rows: 0 * labels})(LABELS, logits)))


def test_a_sum_with_losses_of_keras_is_saved_with_the_model(tmp_path):
    made = mixed()
    config = json.loads(json.dumps(made.get_config()))
    again = WeightedSum.from_config(config)
    assert again.get_config() == config
    assert numpy(again(LABELS, EMBEDDINGS)) == numpy(made(LABELS, EMBEDDINGS))
    inputs = keras.Input((EMBEDDINGS.shape[1],))
    model = keras_epos.MetricLearningModel(inputs, keras.layers.Dense(6)(inputs))
    classes = LABELS.max() + 1
    loss = WeightedSum({"ids": losses.CosFaceLoss(classes), "classes": "sparse_categorical_crossentropy"})
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*RecallAtK")
        model.compile("sgd", loss=loss, metrics=["accuracy"])
    assert {"loss", "valid_anchors", "ids", "classes"} <= set(model.fit(EMBEDDINGS, LABELS, verbose=0).history)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.loss.get_config() == loss.get_config()
    outputs = model.predict(EMBEDDINGS, verbose=0)
    assert numpy(loaded.loss(LABELS, outputs)) == numpy(loss(LABELS, outputs))


def test_a_sum_in_a_sum_is_part_of_it():
    terms = parts()
    inner = WeightedSum({"easy": terms["easy"], "norm": terms["norm"]}, {"norm": 0.01}, reduction="sum")
    made = WeightedSum({"pairs": terms["pairs"], "rest": inner}, {"rest": 0.3})
    flat = WeightedSum(parts(), {"easy": 0.3, "norm": 0.003})
    assert numpy(made(LABELS, EMBEDDINGS)) == pytest.approx(numpy(flat(LABELS, EMBEDDINGS)), rel=1e-12)
    assert made.statistic_names == ("valid_anchors", "pairs", "rest_easy", "rest_norm")
    assert WeightedSum.from_config(made.get_config()).get_config() == made.get_config()


# --- penalties ---


def nearest_distances(embeddings):
    distance = reference.distance(embeddings) + 10 * np.eye(len(embeddings))
    return distance.min(axis=1)


def spread_out(embeddings):
    similarity = reference.cosine(embeddings)
    has_positive = np.array([(label == LABELS).sum() > 1 for label in LABELS])
    pairs = similarity[(LABELS[:, None] != LABELS[None]) & has_positive[:, None]]
    return np.full(has_positive.sum(), pairs.mean() ** 2 + max(0, (pairs**2).mean() - 1 / embeddings.shape[1]))


PENALTIES = {
    "norm": (NormPenalty, lambda embeddings: (embeddings**2).sum(axis=1)),
    "zero mean": (ZeroMeanPenalty, lambda embeddings: abs(embeddings.sum(axis=1))),
    "koleo": (KoLeoPenalty, lambda embeddings: -np.log(nearest_distances(embeddings))),
    "spread out": (SpreadOutPenalty, spread_out),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_equal_their_formulas(name):
    penalty, formula = PENALTIES[name]
    value, slope = value_and_gradient(penalty(dtype="float64"), LABELS, tensor(EMBEDDINGS))
    assert value == pytest.approx(formula(EMBEDDINGS).mean(), rel=1e-6)
    expected = reference.numerical_gradient(lambda rows: formula(rows).mean(), EMBEDDINGS)
    np.testing.assert_allclose(numpy(slope), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_stay_finite(name):
    penalty, _ = PENALTIES[name]
    for rows in (np.zeros((4, 3)), np.ones((4, 3)), np.ones((1, 3)), 1e15 * np.ones((4, 3))):
        labels = np.arange(len(rows)) // 2
        value, slope = value_and_gradient(penalty(), labels, tensor(rows, "float32"))
        assert np.isfinite(value)
        assert np.isfinite(numpy(slope)).all()


@pytest.mark.parametrize("name", ["norm", "zero mean", "koleo"])
def test_ignored_labels_are_as_good_as_absent(name):
    penalty, formula = PENALTIES[name]
    labels = LABELS.copy()
    labels[[1, 5]] = -1
    values = numpy(penalty(dtype="float64", ignore_label=-1, reduction=None)(labels, EMBEDDINGS))
    kept = labels != -1
    np.testing.assert_allclose(values[kept], formula(EMBEDDINGS[kept]), rtol=1e-6)
    assert not values[~kept].any()
