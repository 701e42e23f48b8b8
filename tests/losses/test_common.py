"""What holds for every loss, whatever its formula."""

import json
import logging
from functools import partial

import keras
import numpy as np
import pytest
from loss_cases import (
    COMBINATIONS,
    FEW_ON_JAX,
    LOSSES,
    NEGATIVES,
    ON_JAX,
    ONE_OF_EACH,
    POSITIVES,
    TWO_COMBINATIONS,
    batch,
    expected_gradient,
    is_refused,
    make,
    numpy,
    oracle,
    tensor,
    tied_batch,
    value_and_gradient,
)

from keras_epos import losses, reference
from keras_epos.mining import DistanceWeighted, Easy, Random, SemiHard

RANDOM = np.random.default_rng(7)
EVERY_LOSS = list(LOSSES)


def turn(loss, *choices):
    """One of the choices, another for each loss: what hardly depends on the formula is checked by turns."""
    return choices[EVERY_LOSS.index(loss) % len(choices)]


# Batches that leave nothing to learn, or little to stand on: (labels, embeddings, must the loss be exactly 0).
DEGENERATE = {
    "one class": (np.zeros(6, int), RANDOM.standard_normal((6, 4)), True),
    "all labels distinct": (np.arange(6), RANDOM.standard_normal((6, 4)), True),
    "empty": (np.zeros(0, int), np.zeros((0, 4)), True),
    "batch of one": (np.zeros(1, int), RANDOM.standard_normal((1, 4)), True),
    "two of one class": (np.zeros(2, int), RANDOM.standard_normal((2, 4)), True),
    "two of two classes": (np.arange(2), RANDOM.standard_normal((2, 4)), True),
    "some rows of zeros": (np.arange(8) % 2, RANDOM.standard_normal((8, 4)) * (np.arange(8) > 2)[:, None], False),
    "all rows of zeros": (np.arange(6) % 2, np.zeros((6, 4)), False),
    "collapsed": (np.arange(6) % 2, np.ones((6, 4)), False),
    "nearly collapsed": (np.arange(6) % 2, 1 + 1e-6 * RANDOM.standard_normal((6, 4)), False),
    "copies": (np.arange(8) // 2 % 2, np.repeat(RANDOM.standard_normal((4, 4)), 2, axis=0), False),
    "opposite": (np.arange(6) % 2, np.ones((6, 4)) * (1 - 2 * (np.arange(6) % 2))[:, None], False),
}


@pytest.mark.parametrize("loss", ONE_OF_EACH if ON_JAX else EVERY_LOSS)
def test_value_gradient_and_weights_equal_the_oracle(loss):
    labels, embeddings = batch()
    same = labels[:, None] == labels[None]
    for positives, negatives in COMBINATIONS[loss]:
        expected = oracle(loss, positives, negatives)(labels, embeddings)
        average_over = "valid" if positives == "all" else "active"
        made = make(loss, positives, negatives, average_over=average_over)
        value, slope = value_and_gradient(made, labels, tensor(embeddings))
        np.testing.assert_allclose(value, expected.mean(average_over), rtol=1e-6, atol=1e-12)
        slope_expected = expected_gradient(loss, positives, negatives, labels, embeddings, average_over)
        precision = {"rtol": 1e-5, "atol": 1e-7} if LOSSES[loss].numerical else {"rtol": 1e-6, "atol": 1e-9}
        np.testing.assert_allclose(numpy(slope), slope_expected, **precision)
        weights = numpy(made.pair_weights(labels, embeddings))
        np.testing.assert_allclose(weights, expected.weights, rtol=1e-6, atol=1e-9)
        assert LOSSES[loss].mixed_signs or ((weights[same] <= 0).all() and (weights[~same] >= 0).all())
        assert (np.diag(weights) == 0).all()
        # The batch says something: but the easiest positive and the easiest negative may both be at rest.
        assert expected.total.any() or "easy" in (positives, negatives)


@pytest.mark.backend("tensorflow", reason="NumPy alone, once")
@pytest.mark.parametrize("loss", [loss for loss in EVERY_LOSS if not LOSSES[loss].numerical])
def test_the_gradient_of_the_oracle_equals_central_differences(loss):
    # The tensor code is compared with this gradient above.
    labels, embeddings = batch(seed=1)
    for (positives, negatives), average_over in zip(TWO_COMBINATIONS[loss], ("valid", "active"), strict=True):
        of = oracle(loss, positives, negatives)
        at = partial(of, constants_at=embeddings) if LOSSES[loss].detached else of

        def mean(rows, at=at, average_over=average_over):
            return at(labels, rows).mean(average_over)

        expected = reference.numerical_gradient(mean, embeddings)
        found = expected_gradient(loss, positives, negatives, labels, embeddings, average_over)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
        assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize("loss", FEW_ON_JAX)
def test_ties_and_copies_equal_the_oracle(loss):
    combinations = COMBINATIONS[loss][:1] if ON_JAX else [*COMBINATIONS[loss][:1], *TWO_COMBINATIONS[loss]]
    for place, (positives, negatives) in enumerate(combinations):
        labels, embeddings = tied_batch(seed=place % 2)
        expected = oracle(loss, positives, negatives)(labels, embeddings)
        values = numpy(make(loss, positives, negatives, reduction="none")(labels, embeddings))
        np.testing.assert_allclose(values, values_of(expected, "active"), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("loss", FEW_ON_JAX)
def test_a_positive_whose_negative_is_skipped_does_not_count(loss):
    labels, embeddings = batch()
    positives = "all" if LOSSES[loss].has_triplets else "hard"
    for average_over in ("valid", "active"):
        expected = oracle(loss, positives, "semi_hard skip")(labels, embeddings)
        value = numpy(make(loss, positives, "semi_hard skip", average_over=average_over)(labels, embeddings))
        np.testing.assert_allclose(value, expected.mean(average_over), rtol=1e-6, atol=1e-12)


def values_of(expected, average_over):
    """One value for each anchor, whose mean over the anchors that count is the mean over the terms that count."""
    counted = getattr(expected, average_over)
    return expected.total * max(np.count_nonzero(counted), 1) / max(counted.sum(), 1)


@pytest.mark.parametrize("loss", FEW_ON_JAX)
def test_float32_is_close_to_the_oracle_and_lengths_do_not_matter_even_when_their_squares_overflow(loss):
    labels, embeddings = batch(seed=2)
    scale = 1 if LOSSES[loss].raw else turn(loss, 1e20, 1, 1e-20)
    for (positives, negatives), factor in zip(TWO_COMBINATIONS[loss], (1, scale), strict=True):
        expected = oracle(loss, positives, negatives)(labels, embeddings).mean("valid")
        slope_expected = expected_gradient(loss, positives, negatives, labels, embeddings)
        made = make(loss, positives, negatives, dtype="float32", average_over="valid")
        value, slope = value_and_gradient(made, labels, tensor(embeddings * factor, "float32"))
        assert value.dtype == "float32"
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        np.testing.assert_allclose(numpy(slope).astype("float64") * factor, slope_expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", ["triplet", "margin"] if ON_JAX else ONE_OF_EACH)
def test_degenerate_batches_stay_finite_and_empty_ones_are_exactly_zero(loss):
    for place, (case, (labels, embeddings, is_zero)) in enumerate(DEGENERATE.items()):
        if keras.backend.backend() != "torch" and (place + EVERY_LOSS.index(loss)) % 2:
            continue  # the other half is the next loss's
        # Small batches have fewer samples than the strategies of two ask for.
        few = (("easy 2", "hard 2"),) if len(labels) < 3 else ()
        combinations = (("all", "all"), ("easy", "semi_hard"), *few)
        positives, negatives = combinations[(place + EVERY_LOSS.index(loss)) % len(combinations)]
        made = make(loss, positives, negatives, dtype="float32")
        value, slope = value_and_gradient(made, labels, tensor(embeddings, "float32"))
        slope, weights = numpy(slope), numpy(made.pair_weights(labels, tensor(embeddings, "float32")))
        assert np.isfinite(value), case
        assert np.isfinite(slope).all(), case
        assert np.isfinite(weights).all(), case
        if is_zero:
            assert value == 0, case
            assert not slope.any(), case
            assert not weights.any(), case
        if "zeros" in case and not LOSSES[loss].raw:
            assert not slope[~embeddings.any(axis=1)].any(), case


def test_an_empty_batch_has_a_value_for_no_anchor():
    made = losses.TripletLoss(reduction=None)
    assert numpy(made(np.zeros(0, int), np.zeros((0, 4), "float32"))).shape == (0,)


@pytest.mark.parametrize("strategy", ["distance_weighted", "random"][: 1 if ON_JAX else 2])
def test_degenerate_batches_with_drawn_negatives(strategy):
    made = losses.MarginLoss(positives="random", negatives=strategy)
    for case, (labels, embeddings, is_zero) in DEGENERATE.items():
        value, slope = value_and_gradient(made, labels, tensor(embeddings, "float32"))
        assert np.isfinite(value), case
        assert np.isfinite(numpy(slope)).all(), case
        if is_zero:
            assert value == 0, case
            assert not numpy(slope).any(), case


@pytest.mark.parametrize("loss", FEW_ON_JAX)
def test_an_anchor_without_positives_or_negatives_adds_nothing(loss):
    labels, embeddings = batch()
    (alone,) = np.flatnonzero(labels == 3)
    positives, negatives = turn(loss, *TWO_COMBINATIONS[loss])
    values = numpy(make(loss, positives, negatives, reduction=None)(labels, embeddings))
    weights = numpy(make(loss, positives, negatives).pair_weights(labels, embeddings))
    assert values.shape == (12,)
    assert values[alone] == 0
    assert not weights[alone].any()
    assert values.any()


@pytest.mark.parametrize("loss", FEW_ON_JAX)
def test_order_rotation_and_the_names_of_classes_do_not_matter(loss):
    labels, embeddings = batch(seed=4)
    order = np.random.default_rng(0).permutation(len(labels))
    rotation, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((5, 5)))
    turned = embeddings if LOSSES[loss].turns else embeddings @ rotation
    names = np.array([40, -7, 3, 11])
    for positives, negatives in TWO_COMBINATIONS[loss]:
        made = make(loss, positives, negatives, reduction=None)
        values = numpy(made(labels, embeddings))
        np.testing.assert_allclose(numpy(made(labels[order], embeddings[order])), values[order], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(numpy(made(names[labels], turned)), values, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", FEW_ON_JAX)
def test_easy_pulls_towards_the_nearest_positive_only(loss):
    labels, embeddings = batch(classes=(4, 4, 4))
    weights = numpy(make(loss, "easy", "all").pair_weights(labels, embeddings))
    similarity = reference.cosine(embeddings)
    for a in range(12):
        same = [j for j in range(12) if labels[j] == labels[a] and j != a]
        nearest = max(same, key=lambda j: similarity[a, j])
        if loss == "multi-similarity after" and weights[a, same].any():
            nearest = same[int(np.argmin(weights[a, same]))]
        assert not weights[a, [j for j in same if j != nearest]].any()
    assert (weights < 0).any()


@pytest.mark.parametrize("loss", FEW_ON_JAX)
def test_with_two_samples_of_a_class_easy_equals_all(loss):
    labels, embeddings = batch(classes=(2, 2, 2, 2))
    # Multi-similarity mines all positives, and keeps chosen ones.
    strategies = [strategy for strategy in POSITIVES if (loss, strategy) != ("multi-similarity", "all")]
    values = [numpy(make(loss, strategy, "hard", reduction=None)(labels, embeddings)) for strategy in strategies]
    for other in values[1:]:
        np.testing.assert_allclose(other, values[0], rtol=1e-12)
    assert values[0].any()


@pytest.mark.parametrize("loss", ["triplet", "triplet euclidean", "NT-Xent", "margin", "multi-similarity unmined"])
def test_no_single_positive_gives_a_lower_loss_than_the_easy_one(loss):
    labels, embeddings = batch(seed=5)
    one = {
        positives: numpy(make(loss, positives, "all", average_over="valid", reduction=None)(labels, embeddings))
        for positives in ("easy", "hard")
    }
    assert (one["easy"] <= one["hard"] + 1e-12).all()
    assert (one["easy"] < one["hard"]).any()


# --- how it is compiled ---


def compiled(made, embeddings, how):
    """`(labels, embeddings) -> (value, gradient)`, compiled."""
    if how == "jax.jit":
        import jax

        return jax.jit(lambda labels, rows: jax.value_and_grad(lambda rows: made(labels, rows))(rows))
    import tensorflow as tf

    def both(labels, rows):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            value = made(labels, rows)
        return value, tape.gradient(value, rows)

    if how == "xla":
        return tf.function(both, jit_compile=True, autograph=False)
    # Batches of a size that the graph does not know, as in Model.fit.
    unknown = [tf.TensorSpec([None], "int64"), tf.TensorSpec([None, embeddings.shape[1]], "float64")]
    return tf.function(both, input_signature=unknown, autograph=False)


# A graph for each loss; XLA and JAX compile what the graph holds, for a quarter of them.
COMPILED = (
    [("jax.jit", loss) for loss in FEW_ON_JAX]
    if ON_JAX
    else [("graph", loss) for loss in ONE_OF_EACH] + [("xla", loss) for loss in ONE_OF_EACH[1::4]]
)


@pytest.mark.backend("tensorflow", "jax", reason="PyTorch runs eagerly")
@pytest.mark.parametrize(("how", "loss"), COMPILED)
def test_compiled_equals_eager(how, loss):
    labels, embeddings = batch(seed=6)
    made = make(loss, *turn(loss, *TWO_COMBINATIONS[loss]))
    value, slope = compiled(made, embeddings, how)(tensor(labels, "int64"), tensor(embeddings))
    expected_value, expected_slope = value_and_gradient(made, labels, tensor(embeddings))
    np.testing.assert_allclose(numpy(value), expected_value, rtol=1e-9)
    np.testing.assert_allclose(numpy(slope), numpy(expected_slope), rtol=1e-8, atol=1e-11)


@pytest.mark.backend("tensorflow", reason="tf.function")
def test_a_function_of_the_users_own_compiles_without_a_word():
    import tensorflow as tf

    labels, embeddings = batch()
    arc_face = losses.ArcFaceLoss(4)
    arc_face.adopt(embeddings.shape[1])
    memory = losses.CrossBatchMemory(losses.MarginLoss(), 16, memory_positives=False)
    memory.adopt(embeddings.shape[1])
    together = losses.WeightedSum(
        {"all": losses.TripletLoss(), "norm": losses.NormPenalty(), "easy": losses.NTXentLoss(positives="easy")}
    )
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    tf.get_logger().addHandler(handler)
    try:
        for loss in (arc_face, memory, together):
            assert np.isfinite(tf.function(loss)(tensor(labels, "int64"), tensor(embeddings, "float32")))
    finally:
        tf.get_logger().removeHandler(handler)
    assert not said


@pytest.mark.backend("tensorflow", reason="tf.function")
@pytest.mark.parametrize("strategy", ["distance_weighted", "random"])
def test_drawn_negatives_compile(strategy):
    import tensorflow as tf

    labels, embeddings = batch(seed=6)
    made = losses.MarginLoss(negatives=strategy)
    for jit_compile in (False, True):
        value = tf.function(made, jit_compile=jit_compile)(tensor(labels, "int64"), tensor(embeddings, "float32"))
        assert np.isfinite(value)
        assert value > 0


@pytest.mark.parametrize("loss", FEW_ON_JAX)
def test_half_precision_comes_in_and_its_gradient_goes_out(loss):
    labels, embeddings = batch(seed=7)
    made = make(loss, "easy", "hard", dtype="float32")
    dtype = turn(loss, "float16", "bfloat16")
    half = tensor(embeddings, dtype)
    value, slope = value_and_gradient(made, labels, half)
    assert keras.backend.standardize_dtype(slope.dtype) == dtype
    assert np.isfinite(numpy(keras.ops.cast(slope, "float32"))).all()
    np.testing.assert_allclose(value, numpy(made(labels, keras.ops.cast(half, "float32"))), rtol=1e-6)
    assert value.dtype == "float32"
    assert value > 0


# --- configuration and refusals ---


@pytest.mark.parametrize("loss", FEW_ON_JAX)
def test_config_round_trip(loss):
    positives, negatives = COMBINATIONS[loss][0]
    made = make(loss, positives, negatives, ignore_label=-1, reduction="sum", name="mine", average_over="active")
    config = json.loads(json.dumps(made.get_config()))
    assert config == made.get_config()
    assert config["name"] == "mine"
    assert config["ignore_label"] == -1
    labels, embeddings = batch()
    expected = numpy(made(labels, embeddings))
    for again in (
        type(made).from_config(config),
        keras.losses.deserialize(json.loads(json.dumps(keras.losses.serialize(made)))),
    ):
        assert type(again) is type(made)
        assert again.get_config() == config
        np.testing.assert_array_equal(numpy(again(labels, embeddings)), expected)


def test_names_are_registered_under_a_stable_package():
    for loss in losses.LOSSES.values():
        assert keras.saving.get_registered_name(loss) == f"keras_epos>{loss.__name__}"


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_senseless_strategies_are_refused(loss):
    for negatives in NEGATIVES:
        for positives in POSITIVES:
            if is_refused(loss, positives, negatives):
                with pytest.raises(ValueError, match="must go with one positive per anchor"):
                    make(loss, positives, negatives)
    for positives in ("semi_hard", "distance_weighted", SemiHard(), DistanceWeighted()):
        with pytest.raises(ValueError, match="`positives` must be chosen by a strategy that needs no positive"):
            LOSSES[loss].make(positives=positives)
    for side in ("positives", "negatives"):
        for wrong in ("nearest", 3, None, Easy):
            with pytest.raises(ValueError, match=rf"`{side}` must be one of .* Received: {side}="):
                LOSSES[loss].make(**{side: wrong})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "float16"}, "`dtype` must be"),
        ({"dtype": "int32"}, "`dtype` must be"),
        ({"average_over": "everything"}, "`average_over` must be"),
        ({"reduction": "median"}, "reduction"),
    ],
)
def test_shared_arguments_are_checked(settings, message):
    for loss in ("triplet", "margin", "NT-Xent"):
        with pytest.raises(ValueError, match=message):
            LOSSES[loss].make(**settings)


def test_a_global_dtype_policy_of_half_precision_does_not_reach_the_loss():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        assert losses.MultiSimilarityLoss().dtype == "float32"
    finally:
        keras.config.set_dtype_policy(before)


# --- weights and reductions ---


# What reduces knows no formula: one loss with a term for each pair, for each triplet, for each anchor.
@pytest.mark.parametrize("loss", ["contrastive", "triplet", "multi-similarity"])
@pytest.mark.parametrize("average_over", ["valid", "active"])
def test_reductions_and_sample_weight(loss, average_over):
    positives, negatives = ("easy 2", "hard 2") if loss == "triplet" else ("all", "all")
    labels, embeddings = batch(seed=8)
    weight = np.random.default_rng(0).uniform(0, 2, 12)
    weight[:2] = 0
    expected = oracle(loss, positives, negatives)(labels, embeddings)
    takes_part = (getattr(expected, average_over) > 0).astype(float)
    values = values_of(expected, average_over)

    def found(reduction, sample_weight):
        made = make(loss, positives, negatives, average_over=average_over, reduction=reduction)
        return numpy(made(labels, embeddings, sample_weight=sample_weight))

    for sample_weight in (None, weight, weight[:, None].astype("float32")):
        by = 1 if sample_weight is None else weight
        tolerance = {"rtol": 1e-6, "atol": 1e-12}
        np.testing.assert_allclose(found(None, sample_weight), values * by, **tolerance)
        np.testing.assert_allclose(found("sum", sample_weight), np.sum(values * by), **tolerance)
        for mean in ("mean", "sum_over_batch_size"):
            np.testing.assert_allclose(found(mean, sample_weight), np.sum(values * by) / takes_part.sum(), **tolerance)
        np.testing.assert_allclose(
            found("mean_with_sample_weight", sample_weight), np.sum(values * by) / np.sum(takes_part * by), **tolerance
        )
    for reduction in ("sum", "mean", "mean_with_sample_weight"):
        assert found(reduction, np.zeros(12)) == 0


@pytest.mark.parametrize("loss", ["triplet", "margin"] if ON_JAX else ONE_OF_EACH)
def test_ignored_labels_are_as_good_as_absent(loss):
    labels, embeddings = batch(seed=9)
    ignored = turn(loss, -1, 200)
    labels_with = labels.copy()
    labels_with[[1, 5, 6]] = ignored
    kept = labels_with != ignored
    for positives, negatives in (("all", "all"), ("easy", "semi_hard"), ("easy 2", "hard 2")):
        made = make(loss, positives, negatives, ignore_label=ignored, reduction=None)
        plain = make(loss, positives, negatives, reduction=None)
        values = numpy(made(labels_with, embeddings))
        np.testing.assert_allclose(values[kept], numpy(plain(labels[kept], embeddings[kept])), rtol=1e-9, atol=1e-12)
        weights = numpy(made.pair_weights(labels_with, embeddings))
        assert not values[~kept].any()
        assert not weights[~kept].any()
        assert not weights[:, ~kept].any()


# --- labels ---


def test_labels_of_any_integer_dtype_and_either_shape():
    labels, embeddings = batch()
    made = make("margin", "all", "all")
    expected = numpy(made(labels, embeddings))
    assert numpy(made(labels.tolist(), embeddings)) == expected
    for dtype in ("int8", "int16", "int32", "int64", "uint8", "uint16"):
        assert numpy(made(labels.astype(dtype), embeddings)) == expected
        assert numpy(made(tensor(labels[:, None], dtype), tensor(embeddings))) == expected


def test_a_label_to_ignore_that_the_dtype_of_the_labels_cannot_hold():
    labels, embeddings = batch()
    expected = numpy(make("contrastive", "all", "all")(labels, embeddings))
    for dtype in ("int8", "int64", "uint8"):
        for ignored in (-1, 300):
            made = make("contrastive", "all", "all", ignore_label=ignored)
            assert numpy(made(labels.astype(dtype), embeddings)) == expected


@pytest.mark.parametrize("offset", [2**24, 2**31 - 4, 2**53, 2**60])
def test_neighboring_large_ids_stay_apart(offset):
    # On JAX without x64, int64 becomes int32 before the loss sees it; conftest.py turns x64 on.
    labels, embeddings = batch()
    labels = labels.astype("int64")
    for loss in ("contrastive", "multi-similarity"):
        made = make(loss, "all", "all")
        assert numpy(made(labels + offset, embeddings)) == numpy(made(labels, embeddings)) > 0


@pytest.mark.parametrize("offset", [2**24, 2**31 - 4])
def test_large_ids_survive_model_evaluate(offset):
    labels, embeddings = batch()
    model = keras.Sequential([keras.Input((5,)), keras.layers.Identity()])
    model.compile(loss=losses.ContrastiveLoss())
    found = model.evaluate(embeddings, (labels + offset).astype("int32"), verbose=0, batch_size=12)
    np.testing.assert_allclose(found, numpy(losses.ContrastiveLoss()(labels, embeddings)), rtol=1e-6)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(12), "`y_true` must be integer class labels"),
        (np.zeros(12, "float32"), "`y_true` must be integer class labels"),
        (np.zeros(12, bool), "`y_true` must be integer class labels"),
        (np.eye(12, dtype="int32"), "One-hot labels become integers"),
        (np.int32(3), "`y_true` must be class labels of shape"),
        (np.zeros(11, int), "`y_true` must have a label for each of 12"),
    ],
)
def test_what_cannot_be_labels_is_turned_away(labels, message):
    made = losses.TripletLoss()
    for use in (made, made.call, made.pair_weights):
        with pytest.raises(ValueError, match=message):
            use(labels, np.ones((12, 3), "float32"))


def test_embeddings_must_be_a_matrix():
    with pytest.raises(ValueError, match="`y_pred` must be embeddings of shape"):
        losses.TripletLoss()(np.zeros(4, int), np.ones((4, 2, 2), "float32"))


# --- in a model ---


def small_model(loss):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile("sgd", loss=loss)
    return model


@pytest.mark.parametrize("loss", ["easy positive triplet", "multi-similarity"])
def test_a_plain_model_learns(loss):
    labels, inputs = batch(classes=(8, 8, 8))
    model = small_model(make(loss, "easy", "all", dtype="float32", average_over="valid"))
    history = model.fit(inputs, labels, batch_size=24, epochs=6, verbose=0, shuffle=False).history["loss"]
    assert history[-1] < history[0]
    assert np.isfinite(history).all()


def test_statistics_of_a_batch():
    labels, embeddings = batch()
    made = make("triplet", "easy", "hard")
    result = made.result(labels, embeddings)
    expected = oracle("triplet", "easy", "hard")(labels, embeddings)
    similarity = reference.cosine(embeddings)
    anchors = [a for a in range(12) if labels[a] != 3]
    nearest = [max(similarity[a, j] for j in anchors if j != a and labels[j] == labels[a]) for a in anchors]
    hardest = [max(similarity[a, j] for j in range(12) if labels[j] != labels[a]) for a in anchors]
    found = {key: float(numpy(value)) for key, value in result.statistics.items()}
    assert found == pytest.approx(
        {
            "valid_anchors": 11 / 12,
            "active_anchors": np.mean(expected.active[anchors] > 0),
            "positive_similarity": np.mean(nearest),
            "negative_similarity": np.mean(hardest),
        }
    )


def test_a_random_strategy_with_a_seed_gives_the_same_losses_again():
    labels, embeddings = batch()

    def run():
        made = losses.NTXentLoss(positives=Random(seed=3), negatives=DistanceWeighted(seed=4))
        return [float(numpy(made(labels, tensor(embeddings, "float32")))) for _ in range(4)]

    first = run()
    assert run() == first
    assert len(set(first)) > 1
