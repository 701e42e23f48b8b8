"""The hierarchical triplet loss against the oracle, with margins from a tree of its own; its state in a model."""

import json
from functools import partial

import keras
import numpy as np
import pytest
from loss_cases import NEGATIVES, ON_JAX, POSITIVES, batch, numpy, tensor, tied_batch, value_and_gradient

import keras_epos
from keras_epos import reference
from keras_epos.hierarchy import ClassHierarchy
from keras_epos.losses import CrossBatchMemory, HierarchicalTripletLoss, TripletLoss, WeightedSum

CLASSES, LEVELS, DIM = 4, 12, 5


def tree(dim=DIM, **form):
    """Of four classes, two of them near each other, whatever the batch looks like."""
    random = np.random.default_rng(3)
    centers = random.standard_normal((CLASSES, dim))
    centers[1] = centers[0] + 0.4 * random.standard_normal(dim)
    labels = np.repeat(np.arange(CLASSES), 6)
    embeddings = centers[labels] + 0.4 * random.standard_normal((24, dim))
    return ClassHierarchy.from_embeddings(embeddings, labels, **{"num_levels": LEVELS, **form})


def with_tree(dim=DIM, **settings):
    made = HierarchicalTripletLoss(CLASSES, **{"num_levels": LEVELS, "dtype": "float64", **settings})
    made.adopt(dim)
    made.set_hierarchy(tree(dim))
    return made


def oracle(dim=DIM, positives="all", negatives="all", **settings):
    hierarchy, classes = tree(dim), np.arange(CLASSES)
    apart = hierarchy.distance(classes[:, None], classes)
    assert len(np.unique(apart)) > 2
    sides = {"positives": POSITIVES[positives][1], "negatives": NEGATIVES[negatives][1]}
    return partial(reference.hierarchical_triplet, apart=apart, spread=hierarchy.spread, **sides, **settings)


COMBINATIONS = [
    ("all", "all", {}),
    ("easy", "all", {"beta": 0.3}),
    ("easy", "semi_hard", {"metric": "euclidean"}),
    ("all", "semi_hard", {}),
    ("all", "hard", {}),
    ("easy 2", "all", {"metric": "euclidean"}),
]


# Each combination is compiled anew on JAX.
@pytest.mark.parametrize(("positives", "negatives", "settings"), COMBINATIONS[:2] if ON_JAX else COMBINATIONS)
def test_value_gradient_and_weights_equal_the_oracle(positives, negatives, settings):
    labels, embeddings = batch()
    expected = oracle(positives=positives, negatives=negatives, **settings)(labels, embeddings)
    for average_over in ("valid", "active"):
        made = with_tree(
            positives=POSITIVES[positives][0], negatives=NEGATIVES[negatives][0], average_over=average_over, **settings
        )
        value, slope = value_and_gradient(made, labels, tensor(embeddings))
        np.testing.assert_allclose(value, expected.mean(average_over), rtol=1e-6)
        slope_expected = reference.gradient(expected, embeddings, average_over)
        np.testing.assert_allclose(numpy(slope), slope_expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(numpy(made.pair_weights(labels, embeddings)), expected.weights, rtol=1e-6, atol=1e-9)
    assert expected.active.sum() > 0
    assert expected.active.sum() < expected.valid.sum() or negatives != "all"


def test_gradient_equals_central_differences_of_the_oracle():
    labels, embeddings = batch(seed=1)
    of = oracle()
    expected = reference.numerical_gradient(lambda rows: of(labels, rows).mean(), embeddings)
    _, slope = value_and_gradient(with_tree(), labels, tensor(embeddings))
    np.testing.assert_allclose(numpy(slope), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("positives", "negatives"), [("easy", "all"), ("easy", "hard"), ("all", "all")][: 1 if ON_JAX else 3]
)
def test_ties_and_copies_equal_the_oracle(positives, negatives):
    for seed in range(2):
        labels, embeddings = tied_batch(seed)
        expected = oracle(4, positives, negatives)(labels, embeddings)
        found = with_tree(4, positives=positives, negatives=negatives).terms(
            tensor(labels, "int32"), tensor(embeddings)
        )
        np.testing.assert_allclose(numpy(found.total), expected.total, rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(numpy(found.valid), expected.valid)


@pytest.mark.parametrize("scale", [1e20] if ON_JAX else [1e20, 1e-20])
def test_lengths_of_rows_do_not_matter_even_when_their_squares_overflow(scale):
    labels, embeddings = batch(seed=3)
    value, slope = value_and_gradient(with_tree(dtype="float32"), labels, tensor(embeddings * scale, "float32"))
    expected = oracle()(labels, embeddings)
    np.testing.assert_allclose(value, expected.mean(), rtol=1e-5)
    expected_slope = reference.gradient(expected, embeddings)
    np.testing.assert_allclose(numpy(slope).astype("float64") * scale, expected_slope, rtol=1e-4, atol=1e-5)


@pytest.mark.backend("tensorflow", "torch", reason="each shape is compiled anew")
def test_degenerate_batches():
    random = np.random.default_rng(7)
    cases = {
        "one class": (np.zeros(6, int), random.standard_normal((6, DIM)), True),
        "all labels distinct": (np.arange(4), random.standard_normal((4, DIM)), True),
        "batch of one": (np.zeros(1, int), random.standard_normal((1, DIM)), True),
        "rows of zeros": (np.arange(6) % 2, np.zeros((6, DIM)), False),
        "collapsed": (np.arange(6) % 2, np.ones((6, DIM)), False),
        "copies": (np.arange(8) // 2 % 2, np.repeat(random.standard_normal((4, DIM)), 2, axis=0), False),
    }
    for labels, embeddings, is_zero in cases.values():
        for positives in ("all", "easy"):
            made = with_tree(positives=positives, dtype="float32")
            value, slope = value_and_gradient(made, labels, tensor(embeddings, "float32"))
            assert np.isfinite(value)
            assert np.isfinite(numpy(slope)).all()
            if is_zero:
                assert value == 0
                assert not numpy(slope).any()


@pytest.mark.backend("tensorflow", "torch", reason="each shape is compiled anew")
def test_the_value_is_that_of_the_paper():
    """Seven points of the unit circle, and the margins of their own tree, worked out apart from this code."""
    angles = np.deg2rad([0, 20, 76, 100, 130, 205, 303])
    points, labels = np.stack([np.cos(angles), np.sin(angles)], axis=1), np.array([0, 0, 0, 1, 1, 2, 2])
    made = HierarchicalTripletLoss(3, dtype="float64")
    made.adopt(2)
    made.set_hierarchy(ClassHierarchy.from_embeddings(points, labels))
    margins = {(0, 1): 1.106978, (1, 0): 1.678490, (0, 2): 2.183758, (2, 0): 0.744873}
    # Classes 1 and 2 meet at level 10, as average linkage has it.
    margins |= {(1, 2): 0.1 + 2.923220 - 0.267949, (2, 1): 0.1 + 2.923220 - 2.278346}
    total = number = 0
    for a in range(7):
        for p in set(np.flatnonzero(labels == labels[a])) - {a}:
            for n in np.flatnonzero(labels != labels[a]):
                near, far = np.sum((points[a] - points[p]) ** 2), np.sum((points[a] - points[n]) ** 2)
                total += max(0, near - far + margins[labels[a], labels[n]])
                number += 1
    assert number == 44
    assert float(numpy(made(labels, tensor(points)))) == pytest.approx(total / (2 * number), rel=1e-5)


def test_without_a_tree_it_is_half_the_triplet_loss():
    labels, embeddings = batch()
    made = HierarchicalTripletLoss(CLASSES, beta=0.3, dtype="float64")
    made.adopt(DIM)
    assert made.hierarchy is None
    expected = TripletLoss(0.3, negatives="all", average_over="valid", dtype="float64")(labels, embeddings)
    assert numpy(made(labels, embeddings)) == pytest.approx(float(numpy(expected)) / 2, rel=1e-12)


@pytest.mark.backend("tensorflow", "torch", reason="each shape is compiled anew")
def test_labels_out_of_range_and_labels_to_ignore():
    labels, embeddings = batch()
    expected = numpy(with_tree(reduction=None)(labels[2:], embeddings[2:]))
    hidden = np.concatenate([[-1, -1], labels[2:]])
    found = numpy(with_tree(ignore_label=-1, reduction=None)(hidden, embeddings))
    np.testing.assert_allclose(found, [0, 0, *expected], rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match=r"`y_true` must lie in \[0, num_classes\). Received: num_classes=4 and label"):
        with_tree()(hidden, embeddings)


@pytest.mark.backend("tensorflow", "jax", reason="PyTorch runs eagerly")
def test_compiled_equals_eager_and_a_new_tree_needs_no_new_trace():
    labels, embeddings = batch(seed=6)
    made, traced = with_tree(), []

    def value(labels, rows):
        traced.append(1)
        return made(labels, rows)

    if ON_JAX:
        import jax

        # A jitted function would take the variables for constants; Keras's trainer passes them in, as here.
        (layer,) = made.adopt()

        def stateless(state, labels, rows):
            with keras.StatelessScope(zip(layer.variables, state, strict=True)):
                return value(labels, rows)

        jitted = jax.jit(stateless)
        functions = [lambda *arguments: jitted([weight.value for weight in layer.variables], *arguments)]
    else:
        import tensorflow as tf

        unknown = [tf.TensorSpec([None], "int64"), tf.TensorSpec([None, DIM], "float64")]
        functions = [tf.function(value, input_signature=unknown), tf.function(value, jit_compile=True)]
    for hierarchy in (tree(), ClassHierarchy.from_embeddings(embeddings, labels, LEVELS)):
        made.set_hierarchy(hierarchy)
        expected = float(numpy(made(labels, tensor(embeddings))))
        for function in functions:
            found = function(tensor(labels, "int64"), tensor(embeddings))
            assert float(numpy(found)) == pytest.approx(expected, rel=1e-9)
    assert len(traced) == len(functions)


# --- configuration and state ---


def test_config_round_trip():
    made = HierarchicalTripletLoss(
        7, 0.2, 9, "single", "euclidean", "easy", "hard", ignore_label=-1, reduction="sum", name="mine"
    )
    config = json.loads(json.dumps(made.get_config()))
    assert config["linkage"] == "single"
    for again in (
        HierarchicalTripletLoss.from_config(config),
        keras.losses.deserialize(json.loads(json.dumps(keras.losses.serialize(made)))),
    ):
        assert again.get_config() == made.get_config()


def test_hierarchy_comes_back_from_the_state():
    made = with_tree()
    for name in ("classes", "counts", "means", "nodes", "thresholds"):
        np.testing.assert_array_equal(getattr(made.hierarchy, name), getattr(tree(), name))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 1}, "`num_classes` must be an integer of at least 2"),
        ({"beta": 0}, "`beta` must be a positive squared distance. Received: beta=0"),
        ({"beta": "soft"}, "`beta` must be"),
        ({"num_levels": 0}, "`num_levels` must be an integer of at least 1"),
        ({"linkage": "ward"}, "`linkage` must be one of"),
        ({"metric": "cosine"}, "`metric` must be one of"),
        ({"same_class": "share_a_label"}, "`same_class` must be 'equal'"),
    ],
)
def test_arguments_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        HierarchicalTripletLoss(**{"num_classes": 4, **settings})


def test_what_does_not_fit_is_turned_away():
    made = with_tree()
    for hierarchy, message in (
        (ClassHierarchy(np.eye(3, DIM), [2, 2, 2]), "must have the classes 0 to 3"),
        (ClassHierarchy(np.eye(4, DIM), [2] * 4, [0, 1, 2, 9], LEVELS), "must have the classes 0 to 3"),
        (tree(num_levels=3), r"must have \(num_levels, linkage, dimensions\)"),
        (tree(linkage="single"), r"must have \(num_levels, linkage, dimensions\)"),
        (tree(DIM + 1), r"must have \(num_levels, linkage, dimensions\)"),
    ):
        with pytest.raises(ValueError, match=message):
            made.set_hierarchy(hierarchy)
    with pytest.raises(ValueError, match="EmbeddingModel"):
        HierarchicalTripletLoss(4)(np.zeros(4, int), np.ones((4, DIM), "float32"))
    remembering = CrossBatchMemory(with_tree(), 8)
    remembering.adopt(DIM)
    with pytest.raises(ValueError, match="`memory` must be None"):
        remembering(np.zeros((4, 2), int), np.ones((4, DIM), "float32"))


def test_margin_and_metric_that_are_set_later_count():
    labels, embeddings = batch()
    made = with_tree()
    made.beta, made.metric = 0.3, "euclidean"
    expected = numpy(with_tree(beta=0.3, metric="euclidean")(labels, embeddings))
    assert numpy(made(labels, embeddings)) == expected != numpy(with_tree()(labels, embeddings))


# --- in a model ---


@pytest.mark.parametrize("in_a_sum", [False] if ON_JAX else [False, True])
def test_saved_and_resumed_exactly_with_the_tree_in_use(in_a_sum, tmp_path):
    labels, inputs = batch()
    loss = HierarchicalTripletLoss(CLASSES, num_levels=LEVELS, positives="easy")
    model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((5,)), keras.layers.Dense(6)]), DIM)
    model.compile("adam", loss=WeightedSum({"tree": loss}) if in_a_sum else loss)
    loss.set_hierarchy(tree())
    fit = {"batch_size": 12, "shuffle": False, "verbose": 0}
    model.fit(inputs, labels, **fit)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    kept = again.loss.losses["tree"] if in_a_sum else again.loss
    np.testing.assert_array_equal(kept.hierarchy.nodes, tree().nodes)
    expected, found = (one.fit(inputs, labels, epochs=2, **fit).history["loss"] for one in (model, again))
    assert found == pytest.approx(expected, rel=1e-6)
    model.compile("adam", loss=loss)  # A loss may be compiled again.
