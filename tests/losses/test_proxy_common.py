"""What holds for every loss with proxies, whatever its formula."""

import json
import re

import keras
import numpy as np
import pytest
from loss_cases import ON_JAX
from proxy_cases import CASES, NUM_CLASSES, batch, make, numpy, tensor, value_and_gradients

from keras_epos import losses, reference
from keras_epos.losses import MarginLoss, NormalizedSoftmaxLoss, ProxyAnchorLoss, SoftTripleLoss

EVERY = list(CASES)
# One of each kind of formula, where each shape is compiled anew or the formula hardly matters.
SOME = ["ArcFace", "Proxy-Anchor"] if ON_JAX else ["ArcFace", "SoftTriple", "Proxy-NCA", "Proxy-Anchor"]
RANDOM = np.random.default_rng(7)

# Batches that leave nothing to learn, or little to stand on: labels and, given unit proxies (C, D), embeddings.
DEGENERATE = {
    "one sample": ([3], lambda proxies: RANDOM.standard_normal((1, 4))),
    "one class": ([2] * 5, lambda proxies: RANDOM.standard_normal((5, 4))),
    "some rows of zeros": (range(5), lambda proxies: np.eye(5, 4) * [0.0, 1.0, 0.0, 2.0]),
    "all rows of zeros": (range(5), np.zeros_like),
    "collapsed": (range(5), np.ones_like),
    "at the own proxy": (range(5), np.copy),
    "opposite the own proxy": (range(5), np.negative),
    "at the proxy of another": ([1, 2, 3, 4, 0], np.copy),
}


def expected_of(case, labels, embeddings, proxies):
    return CASES[case].of_settings(labels, embeddings, proxies)


@pytest.mark.parametrize("case", EVERY)
def test_value_weights_and_both_gradients_equal_the_oracle(case):
    labels, embeddings, proxies = batch()
    proxies = proxies(CASES[case].centers)
    expected = expected_of(case, labels, embeddings, proxies)
    made = make(case, proxies, **({"tau": 0.0} if "SoftTriple" in case else {}))
    value, by_embeddings, by_proxies = value_and_gradients(made, labels, tensor(embeddings))
    penalty = 0.2 * reference.soft_triple_regularizer(proxies, CASES[case].centers) if "SoftTriple" in case else 0
    np.testing.assert_allclose(value, expected.mean() - penalty, rtol=1e-8, atol=1e-12)
    slopes = reference.proxy_gradients(expected, embeddings, proxies)
    if not CASES[case].by_length:
        np.testing.assert_allclose(numpy(by_embeddings), slopes[0], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(numpy(by_proxies), slopes[1], rtol=1e-7, atol=1e-9)
    made(labels, embeddings)  # Now averages of lengths are those of this batch; above they were not kept.
    weights = numpy(made.proxy_weights(labels, embeddings))
    np.testing.assert_allclose(weights, expected.weights, rtol=1e-7, atol=1e-9)
    own = np.repeat(labels[:, None] == np.arange(NUM_CLASSES), CASES[case].centers, axis=1)
    assert (weights[own] <= 0).all() or CASES[case].mixed_signs
    assert (weights[~own] >= 0).all() or CASES[case].mixed_signs
    assert np.abs(slopes[0]).max() > 1e-3
    assert np.abs(slopes[1]).max() > 1e-3


@pytest.mark.parametrize("case", EVERY)
def test_gradients_equal_central_differences_of_the_oracle(case):
    labels, embeddings, proxies = batch(seed=1)
    proxies = proxies(CASES[case].centers)
    _, by_embeddings, by_proxies = value_and_gradients(make(case, proxies), labels, tensor(embeddings))
    constants = {"constants_at": embeddings} if CASES[case].detached else {}

    def at(rows):
        return CASES[case].of_settings(labels, rows, proxies, **constants).mean()

    differences = (
        reference.numerical_gradient(at, embeddings),
        reference.numerical_gradient(lambda rows: expected_of(case, labels, embeddings, rows).mean(), proxies),
    )
    np.testing.assert_allclose(numpy(by_embeddings), differences[0], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(numpy(by_proxies), differences[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("scale", [1.0, 1e20, 1e-20])
@pytest.mark.parametrize("case", SOME)
def test_float32_is_close_to_the_oracle_and_lengths_do_not_matter(case, scale):
    labels, embeddings, proxies = batch(seed=2)
    proxies = proxies(CASES[case].centers)
    expected = expected_of(case, labels, embeddings, proxies)
    made = make(case, proxies * scale, dtype="float32")
    value, by_embeddings, by_proxies = value_and_gradients(made, labels, tensor(embeddings * scale, "float32"))
    assert value.dtype == "float32"
    np.testing.assert_allclose(value, expected.mean(), rtol=2e-5)
    for found, slope in zip(
        (by_embeddings, by_proxies), reference.proxy_gradients(expected, embeddings, proxies), strict=True
    ):
        if case != "SoftTriple" or found is by_embeddings:
            np.testing.assert_allclose(numpy(found).astype("float64") * scale, slope, rtol=1e-3, atol=1e-4)
    assert made.proxies.dtype == "float32"


@pytest.mark.parametrize("case", SOME)
def test_degenerate_batches_stay_finite(case):
    for degenerate in DEGENERATE:
        check_degenerate(case, degenerate, "float32")


def check_degenerate(case, degenerate, dtype):
    proxies = reference.unit(np.random.default_rng(3).standard_normal((NUM_CLASSES, 4)))
    labels, embeddings = np.array(DEGENERATE[degenerate][0]), DEGENERATE[degenerate][1](proxies)
    made = make(case, np.repeat(proxies, CASES[case].centers, axis=0), dtype=dtype)
    value, by_embeddings, by_proxies = value_and_gradients(made, labels, tensor(embeddings, dtype))
    assert np.isfinite(value)
    for found in (by_embeddings, by_proxies, made.proxy_weights(labels, embeddings)):
        assert np.isfinite(numpy(found)).all()
    assert not numpy(by_embeddings)[~embeddings.any(axis=1)].any()
    assert np.abs(numpy(by_embeddings)).max() < 1e3


@pytest.mark.parametrize("degenerate", ["at the own proxy", "opposite the own proxy"])
def test_arc_face_has_a_gradient_at_angles_of_exactly_0_and_pi(degenerate):
    check_degenerate("ArcFace", degenerate, "float64")
    labels, proxies = np.arange(4), np.eye(5, 4)
    rows = np.eye(4) if degenerate == "at the own proxy" else -np.eye(4)
    made = make("ArcFace", proxies)
    _, by_embeddings, _ = value_and_gradients(made, labels, tensor(rows))
    assert np.isfinite(numpy(by_embeddings)).all()
    expected = expected_of("ArcFace", labels, rows, proxies).weights
    np.testing.assert_allclose(numpy(made.proxy_weights(labels, rows)), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", SOME)
def test_proxies_of_zeros_stay_finite(case):
    labels, embeddings, proxies = batch()
    made = make(case, proxies(CASES[case].centers) * 0)
    value, by_embeddings, by_proxies = value_and_gradients(made, labels, tensor(embeddings))
    assert np.isfinite(value)
    assert not numpy(by_embeddings).any()
    assert not numpy(by_proxies).any()


@pytest.mark.parametrize("case", EVERY)
def test_order_and_rotation_do_not_matter(case):
    labels, embeddings, proxies = batch(seed=4)
    proxies = proxies(CASES[case].centers)
    values = numpy(make(case, proxies, reduction=None)(labels, embeddings))
    order = RANDOM.permutation(len(labels))
    rotation, _ = np.linalg.qr(RANDOM.standard_normal((4, 4)))
    turned = make(case, proxies @ rotation, reduction=None)(labels[order], embeddings[order] @ rotation)
    np.testing.assert_allclose(numpy(turned), values[order], rtol=1e-8, atol=1e-12)
    assert len(np.unique(values.round(9))) >= 4


# --- how it is compiled ---


def compiled(made, how):
    """`(labels, embeddings) -> (value, gradient)`, compiled for batches of any size."""
    if how == "jax.jit":
        import jax

        return jax.jit(lambda labels, rows: jax.value_and_grad(lambda rows: made(labels, rows))(rows))
    import tensorflow as tf

    def both(labels, rows):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            value = made(labels, rows)
        return value, tape.gradient(value, rows)

    unknown = [tf.TensorSpec([None], "int64"), tf.TensorSpec([None, 4], "float64")]
    return tf.function(both, jit_compile=how == "xla", input_signature=unknown, autograph=False)


COMPILED = [("jax.jit", case) for case in SOME] if ON_JAX else [("graph", case) for case in EVERY]
if not ON_JAX:
    # Compile time: one of each kind of formula.
    COMPILED += [("xla", case) for case in SOME]


@pytest.mark.backend("tensorflow", "jax", reason="PyTorch runs eagerly")
@pytest.mark.parametrize(("how", "case"), COMPILED)
def test_compiled_equals_eager_and_labels_out_of_range_do_not_pass(how, case):
    labels, embeddings, proxies = batch(seed=6)
    made = make(case, proxies(CASES[case].centers))
    run = compiled(made, how)
    value, slope = run(tensor(labels, "int64"), tensor(embeddings))
    expected_value, expected_slope, _ = value_and_gradients(made, labels, tensor(embeddings))
    np.testing.assert_allclose(numpy(value), expected_value, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(numpy(slope), numpy(expected_slope), rtol=1e-7, atol=1e-11)
    labels[3] = NUM_CLASSES
    if how == "graph":
        with pytest.raises(Exception, match=re.escape("`y_true` must lie in [0, num_classes)")) as error:
            run(tensor(labels, "int64"), tensor(embeddings))
        assert f"Received: num_classes={NUM_CLASSES} and label] [{NUM_CLASSES}]" in str(error.value)
    else:
        assert np.isnan(numpy(run(tensor(labels, "int64"), tensor(embeddings))[0]))


@pytest.mark.parametrize(("case", "dtype"), zip(SOME, ["float16", "bfloat16"] * 2, strict=False))
def test_half_precision_comes_in_and_its_gradient_goes_out(case, dtype):
    labels, embeddings, proxies = batch(seed=7)
    half = tensor(embeddings, dtype)
    made = make(case, proxies(CASES[case].centers), dtype="float32")
    value, slope, by_proxies = value_and_gradients(made, labels, half)
    assert keras.backend.standardize_dtype(slope.dtype) == dtype
    assert keras.backend.standardize_dtype(by_proxies.dtype) == "float32"
    assert np.isfinite(numpy(keras.ops.cast(slope, "float32"))).all()
    np.testing.assert_allclose(value, numpy(made(labels, keras.ops.cast(half, "float32"))), rtol=1e-6)
    assert value.dtype == "float32"


# --- weights, reductions, labels ---


@pytest.mark.parametrize("case", SOME)  # what reduces knows no formula
def test_reductions_and_sample_weight(case):
    labels, embeddings, proxies = batch(seed=8)
    proxies = proxies(CASES[case].centers)
    weight = np.random.default_rng(0).uniform(0, 2, 12)
    weight[:2] = 0
    values = expected_of(case, labels, embeddings, proxies).total

    def found(reduction, sample_weight):
        return numpy(make(case, proxies, reduction=reduction)(labels, embeddings, sample_weight=sample_weight))

    for sample_weight, by in ((None, np.ones(12)), (weight[:, None], weight)):
        np.testing.assert_allclose(found(None, sample_weight), values * by, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(found("sum", sample_weight), np.sum(values * by), rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(
            found("sum_over_batch_size", sample_weight), np.mean(values * by), rtol=1e-8, atol=1e-12
        )
        weighted = np.sum(values * by) / np.sum(by)
        np.testing.assert_allclose(found("mean_with_sample_weight", sample_weight), weighted, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("ignored", [-1, 4])
@pytest.mark.parametrize("case", SOME)
def test_ignored_samples_add_nothing(case, ignored):
    labels, embeddings, proxies = batch(seed=9)
    proxies = proxies(CASES[case].centers)
    labels[[1, 5, 6]] = ignored
    kept = labels != ignored
    expected = CASES[case].of_settings(labels, embeddings, proxies, ignore_label=ignored)
    made = make(case, proxies, ignore_label=ignored)
    value, by_embeddings, _ = value_and_gradients(made, labels, tensor(embeddings))
    np.testing.assert_allclose(value, expected.mean(), rtol=1e-8, atol=1e-12)
    assert not numpy(by_embeddings)[~kept].any()
    assert not numpy(made.proxy_weights(labels, embeddings))[~kept].any()
    assert not numpy(make(case, proxies, ignore_label=ignored, reduction=None)(labels, embeddings))[~kept].any()
    if ignored != 4:
        assert numpy(make(case, proxies)(labels[kept], embeddings[kept])) == pytest.approx(value, rel=1e-9)
    # Nothing but ignored samples: a loss of exactly 0.
    value, by_embeddings, by_proxies = value_and_gradients(made, np.full(12, ignored), tensor(embeddings))
    assert value == 0
    assert not numpy(by_embeddings).any()
    assert not numpy(by_proxies).any()


@pytest.mark.parametrize("case", EVERY)
def test_a_label_without_a_class_is_refused(case):
    labels, embeddings, proxies = batch()
    made = make(case, proxies(CASES[case].centers))
    ignoring = make(case, proxies(CASES[case].centers), ignore_label=-1)
    for use in (made, made.proxy_weights, ignoring):
        for wrong in (NUM_CLASSES, -3):
            labels[3] = wrong
            with pytest.raises(ValueError, match=rf"`y_true` must lie in .* num_classes=5 and label {wrong}\. Number"):
                use(labels, embeddings)
    with pytest.raises(ValueError, match=r"or be -1\."):
        ignoring(labels, embeddings)
    with pytest.raises(ValueError, match=r"label -3\. Classes that were not trained .* keras_epos\.RecallAtK instead"):
        made.result(labels, embeddings, training=False)


def test_rows_of_labels_are_of_no_class():
    loss = MarginLoss(learn_boundary="class", num_classes=5, same_class="share_a_label")
    loss.adopt(4)
    with pytest.raises(ValueError, match=r"`y_true` must be one label for each sample, .* shape \(12, 3\)"):
        loss(np.eye(3, dtype=int)[np.arange(12) % 3], batch()[1])


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8"])
def test_labels_of_any_integer_dtype_and_more_classes_than_it_counts(dtype):
    labels, embeddings, _ = batch()
    loss = NormalizedSoftmaxLoss(1000, dtype="float64")
    loss.adopt(4)
    expected = numpy(loss(labels, embeddings))
    assert numpy(loss(labels.astype(dtype)[:, None], embeddings)) == expected
    assert np.isfinite(expected)


def test_statistics_of_a_batch():
    labels, embeddings, proxies = batch()
    proxies = proxies(3)
    labels[4] = -1
    loss = SoftTripleLoss(NUM_CLASSES, centers=3, ignore_label=-1, dtype="float64")
    assert loss.adopt(4)
    loss.proxies.assign(proxies)
    result = loss.result(labels, embeddings)
    nearest = (reference.unit(embeddings) @ reference.unit(proxies).T).reshape(12, NUM_CLASSES, 3).max(-1)
    kept = [i for i in range(12) if i != 4]
    own = [nearest[i, labels[i]] for i in kept]
    other = [np.delete(nearest[i], labels[i]).max() for i in kept]
    found = {key: float(numpy(value)) for key, value in result.statistics.items()}
    expected = {"active_anchors": 1, "positive_similarity": np.mean(own), "negative_similarity": np.mean(other)}
    assert found == pytest.approx({"valid_anchors": 11 / 12, **expected})


# --- configuration and refusals ---


@pytest.mark.parametrize("case", EVERY)
def test_config_round_trip(case):
    _, _, proxies = batch()
    made = make(
        case, proxies(CASES[case].centers), ignore_label=-1, reduction="sum", name="mine", average_over="active"
    )
    config = json.loads(json.dumps(made.get_config()))
    assert {key: config[key] for key in CASES[case].settings} == CASES[case].settings
    for again in (
        type(made).from_config(config),
        keras.losses.deserialize(json.loads(json.dumps(keras.losses.serialize(made)))),
    ):
        assert type(again) is type(made)
        assert again.get_config() == config


def test_arguments_of_numpy_are_plain_in_the_config():
    assert type(json.loads(json.dumps(NormalizedSoftmaxLoss(np.int64(3)).get_config()))["num_classes"]) is int


@pytest.mark.parametrize(
    ("loss", "settings", "message"),
    [
        ("proxy_anchor", {}, r"`num_classes` must be given .* keras_epos\.ProxyAnchorLoss\(num_classes=\.\.\.\)"),
        ("proxy_anchor", {"num_classes": 1}, "`num_classes` must be an integer of at least 2"),
        ("proxy_anchor", {"num_classes": 3.0}, "`num_classes` must be an integer of at least 2"),
        ("proxy_anchor", {"positives": "easy"}, "`positives` must be left out: ProxyAnchorLoss .* SoftTripleLoss"),
        ("arc_face", {"negatives": "hard"}, "`negatives` must be left out: ArcFaceLoss"),
        ("proxy_anchor", {"margin": -0.1}, "`margin` must be a cosine similarity"),
        ("proxy_anchor", {"alpha": 0}, "`alpha` must be positive"),
        ("proxy_nca", {"temperature": 0}, "`temperature` must be positive"),
        ("proxy_nca", {"denominator": "own"}, "`denominator` must be"),
        ("normalized_softmax", {"temperature": -1}, "`temperature` must be positive"),
        ("normalized_softmax", {"label_smoothing": 1}, "`label_smoothing` must be in"),
        ("arc_face", {"label_smoothing": -0.1}, "`label_smoothing` must be in"),
        ("cos_face", {"label_smoothing": 1.5}, "`label_smoothing` must be in"),
        ("soft_triple", {"centers": 0}, "`centers` must be an integer of at least 1"),
        ("soft_triple", {"scale": 0}, "`scale` must be positive"),
        ("soft_triple", {"gamma": 0}, "`gamma` must be positive"),
        ("soft_triple", {"margin": 1}, "`margin` must be a cosine similarity"),
        ("soft_triple", {"tau": -1}, "`tau` must be at least 0"),
        ("arc_face", {"margin": 28.6}, r"`margin` must be an angle in radians .* math\.radians"),
        ("arc_face", {"margin": 0}, "`margin` must be an angle in radians"),
        ("arc_face", {"scale": 0}, "`scale` must be positive"),
        ("sub_center_arc_face", {"centers": 1.5}, "`centers` must be an integer"),
        ("cos_face", {"margin": 1}, "`margin` must be a cosine similarity"),
        ("cos_face", {"scale": -1}, "`scale` must be positive"),
        ("ada_face", {"margin": 0}, "`margin` must be in"),
        ("ada_face", {"scale": 0}, "`scale` must be positive"),
        ("ada_face", {"h": 0}, "`h` must be positive"),
        ("ada_face", {"momentum": 1}, "`momentum` must be in"),
        ("mag_face", {"margin": 0.5}, r"`margin` must be two angles .* math\.radians"),
        ("mag_face", {"margin": (0.8, 0.45)}, "`margin` must be two angles"),
        ("mag_face", {"bounds": (10, 10)}, "`bounds` must be two lengths"),
        ("mag_face", {"scale": 0}, "`scale` must be positive"),
        ("mag_face", {"length_weight": -1}, "`length_weight` must be at least 0"),
        ("elastic_arc_face", {"margin": 28.6}, r"`margin` must be an angle in radians .* math\.radians"),
        ("elastic_arc_face", {"std": -1}, "`std` must be at least 0"),
        ("elastic_cos_face", {"margin": 1}, "`margin` must be a cosine similarity"),
    ],
)
def test_settings_out_of_range(loss, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        losses.get(loss, **({"num_classes": 3, **settings} if settings else {}))
    assert "Received: " in str(error.value)


def test_proxies_start_as_random_directions_of_about_unit_length():
    def proxies(seed):
        keras.utils.set_random_seed(seed)
        loss = ProxyAnchorLoss(400)
        loss.adopt(64)
        return numpy(loss.proxies)

    rows = proxies(0)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=0.4)
    cosine = reference.cosine(rows)
    assert np.abs(cosine - np.eye(400)).max() < 0.8
    assert abs(cosine.mean()) < 0.01
    np.testing.assert_array_equal(proxies(0), rows)
    assert not np.array_equal(proxies(1), rows)


def test_a_loss_is_adopted_by_one_model_only():
    loss = ProxyAnchorLoss(3)
    with pytest.raises(ValueError, match="would never train"):
        loss(np.zeros(2, int), np.ones((2, 4)))
    with pytest.raises(ValueError, match="would never train"):
        loss.proxy_weights(np.zeros(2, int), np.ones((2, 4)))
    with pytest.raises(ValueError, match="`embedding_dim` must be given"):
        ProxyAnchorLoss(3).adopt()
    (layer,) = loss.adopt(4)
    assert loss.adopt(4) == [layer]
    assert [weight.shape for weight in layer.trainable_weights] == [(3, 4)]
    with pytest.raises(ValueError, match="make a new one"):
        loss.adopt(5)


# --- what single formulas promise ---


def test_soft_triple_by_hand():
    proxies = np.array([[1, 0], [0, 1], [0.8, 0.6], [-1, 0]])
    loss = SoftTripleLoss(2, centers=2, tau=0.0, reduction=None, dtype="float64")
    loss.adopt(2)
    loss.proxies.assign(proxies)
    x = np.array([[0.6, 0.8], [0.6, 0.8]])
    np.testing.assert_allclose(numpy(loss(np.array([0, 1]), x)), [3.897312, 0.030438], atol=1e-6)
    similarity = tensor((x @ proxies.T).reshape(2, 2, 2))
    np.testing.assert_allclose(numpy(loss.class_similarity(similarity))[0], [0.776159, 0.960000], atol=1e-6)
    with_tau = SoftTripleLoss(2, centers=2, tau=1.0, reduction=None, dtype="float64")
    with_tau.adopt(2)
    with_tau.proxies.assign(proxies)
    difference = numpy(with_tau(np.array([0, 1]), x)) - numpy(loss(np.array([0, 1]), x))
    np.testing.assert_allclose(difference, 0.827897, atol=1e-6)
    assert reference.soft_triple_regularizer(proxies, 2) == pytest.approx(0.827897, abs=1e-6)


def test_soft_triple_pulls_to_the_nearest_center_as_easy_positives_do():
    labels, embeddings, proxies = batch()
    proxies = proxies(3)
    loss = make("SoftTriple", proxies, gamma=0.01)
    weights = numpy(loss.proxy_weights(labels, embeddings)).reshape(12, NUM_CLASSES, 3)
    similarity = (reference.unit(embeddings) @ reference.unit(proxies).T).reshape(12, NUM_CLASSES, 3)
    for i in range(12):
        own = weights[i, labels[i]]
        assert own.argmin() == similarity[i, labels[i]].argmax()
        assert own.min() < 100 * np.partition(own, 1)[1] or np.partition(own, 1)[1] > -1e-3


def test_the_mean_of_proxy_anchor_is_the_loss_over_proxies():
    labels, embeddings, proxies = batch()
    proxies = proxies(1)
    similarity = reference.unit(embeddings) @ reference.unit(proxies).T
    own = labels[:, None] == np.arange(NUM_CLASSES)
    pull = np.log1p(np.sum(np.exp(-8 * (similarity - 0.2)) * own, axis=0))
    push = np.log1p(np.sum(np.exp(8 * (similarity + 0.2)) * ~own, axis=0))
    expected = pull.sum() / 4 + push.mean()
    assert numpy(make("Proxy-Anchor", proxies)(labels, embeddings)) == pytest.approx(expected, rel=1e-9)


def test_label_smoothing_is_that_of_keras():
    """Also where a class is ignored, of which then no share of the target is."""
    labels, embeddings, proxies = batch()
    logits = reference.unit(embeddings) @ reference.unit(proxies(1)).T / 0.2
    keras_loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.3)
    settings = {"temperature": 0.2, "label_smoothing": 0.3}
    for ignored in (None, 4):
        classes = [c for c in range(NUM_CLASSES) if c != ignored]
        expected = keras_loss(np.eye(NUM_CLASSES)[labels][:, classes], logits[:, classes])
        found = make("normalized softmax", proxies(1), ignore_label=ignored, **settings)(labels, embeddings)
        assert float(numpy(found)) == pytest.approx(float(numpy(expected)), rel=1e-6)
    smooth = numpy(make("normalized softmax", proxies(1), **settings).proxy_weights(labels, embeddings))
    np.testing.assert_allclose(smooth.sum(axis=1), 0, atol=1e-12)


def test_proxy_nca_of_2017_may_be_negative_and_pulls_for_ever():
    proxies = np.eye(5, 4) + 1e-3
    labels, rows = np.arange(4), np.eye(4) + 1e-3
    classic, plus = make("Proxy-NCA", proxies), make("Proxy-NCA++", proxies)
    assert numpy(classic(labels, rows)) < 0 < numpy(plus(labels, rows))
    assert numpy(classic.proxy_weights(labels, rows))[0, 0] == pytest.approx(-2)
    assert numpy(plus.proxy_weights(labels, rows))[0, 0] > -1e-2


def test_proxy_nca_is_normalized_softmax_at_half_the_temperature():
    labels, embeddings, proxies = batch()
    found = make("Proxy-NCA++", proxies(1), temperature=0.3)(labels, embeddings)
    same = make("normalized softmax", proxies(1), temperature=0.15)(labels, embeddings)
    assert numpy(found) == pytest.approx(float(numpy(same)), rel=1e-12)


def test_configurations_of_before_load_or_say_what_to_do():
    assert losses.SoftTripleLoss.from_config({"num_classes": 3, "centres": 2}).centers == 2
    config = {"num_classes": 3, "learning_rate_multiplier": 1.0}
    assert losses.ArcFaceLoss.from_config(config).num_classes == 3
    with pytest.raises(ValueError, match=r"`learning_rate_multiplier` must be left out .*=10\. .*loss_optimizer"):
        losses.ArcFaceLoss.from_config({**config, "learning_rate_multiplier": 10})
