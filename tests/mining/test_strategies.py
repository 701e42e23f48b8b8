"""Every strategy against the loops of keras_epos.reference, on small matrices full of ties."""

import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from keras_epos import mining, reference
from keras_epos._pairs import LOWEST
from keras_epos.losses import NTXentLoss
from keras_epos.mining import All, DistanceWeighted, Easy, Hard, Random, SemiHard

numpy, tensor = keras.ops.convert_to_numpy, keras.ops.convert_to_tensor


def select(strategy, ease, mask, side="positives", threshold=None, dim=None):
    """A selection from arrays; float64 stays float64."""
    threshold = None if threshold is None else tensor(threshold)
    return strategy.select(tensor(ease), tensor(mask), side, threshold=threshold, dim=dim)


# Few shapes, since each new one is compiled; eighths, since they are exact and tie.
SHAPES = [(1, 1), (3, 5), (4, 9)]
EIGHTHS = some.integers(-8, 8).map(lambda n: n / 8)


@some.composite
def matrices(draw):
    """`(similarity, mask)` as float32 and booleans; rows without a candidate are not rare."""
    shape = draw(some.sampled_from(SHAPES))
    similarity = draw(arrays("float32", shape, elements=EIGHTHS))
    return similarity, draw(arrays(bool, shape, elements=some.booleans()))


def chosen(selection, matrix, row):
    """Values of the valid choices of a row, greatest first."""
    values, valid = numpy(selection.of(tensor(matrix)))[row], numpy(selection.mask)[row]
    return sorted(values[valid].tolist(), reverse=True)


def check_row(selection, mask, row):
    """Choices are candidates, each at most once, in the shape of the selection."""
    indices, valid = numpy(selection.indices)[row], numpy(selection.mask)[row]
    assert indices.shape == valid.shape
    assert ((indices >= 0) & (indices < mask.shape[1])).all()
    assert mask[row][indices[valid]].all()
    assert len(set(indices[valid])) == valid.sum()


@settings(max_examples=60, deadline=None)
@given(matrices(), some.sampled_from([1, 2, 4]))
def test_easy_and_hard_equal_the_oracle(pair, k):
    similarity, mask = pair
    for strategy, oracle in ((Easy(k), reference.easy), (Hard(k), reference.hard)):
        selection = select(strategy, similarity, mask)
        for row in range(len(mask)):
            expected = oracle(similarity[row], np.flatnonzero(mask[row]), k=k)
            check_row(selection, mask, row)
            assert chosen(selection, similarity, row) == sorted(similarity[row][expected].tolist(), reverse=True)


@settings(max_examples=30, deadline=None)
@given(matrices())
def test_all_takes_the_mask(pair):
    similarity, mask = pair
    selection = select(All(), similarity, mask)
    assert selection.indices is None
    np.testing.assert_array_equal(numpy(selection.mask), mask)
    np.testing.assert_array_equal(numpy(selection.of(tensor(similarity))), similarity)


@settings(max_examples=60, deadline=None)
@given(matrices(), some.data(), some.sampled_from(["easiest", "hardest", "skip"]))
def test_semi_hard_equals_the_oracle(pair, data, fallback):
    ease, mask = pair
    threshold = data.draw(arrays("float32", (len(mask), 1), elements=EIGHTHS))
    selection = select(SemiHard(fallback), ease, mask, threshold=threshold)
    for row in range(len(mask)):
        expected = reference.semi_hard(ease[row], np.flatnonzero(mask[row]), threshold[row, 0], fallback)
        check_row(selection, mask, row)
        assert chosen(selection, ease, row) == ease[row][expected].tolist()


@settings(max_examples=25, deadline=None)
@given(matrices(), some.data(), some.sampled_from(["easiest", "hardest", "skip"]))
def test_semi_hard_for_each_of_several_positives_equals_the_oracle(pair, data, fallback):
    ease, mask = pair
    threshold = data.draw(arrays("float32", (len(mask), 3), elements=EIGHTHS))
    wanted = data.draw(arrays(bool, threshold.shape, elements=some.booleans()))
    selection = select(SemiHard(fallback), ease, mask, threshold=np.where(wanted, threshold, np.float32(LOWEST)))
    valid, values = numpy(selection.mask), numpy(selection.of(tensor(ease)))
    for row, column in np.ndindex(*threshold.shape):
        expected = []
        if wanted[row, column]:
            expected = reference.semi_hard(ease[row], np.flatnonzero(mask[row]), threshold[row, column], fallback)
        assert valid[row, column] == bool(expected)
        if expected:
            assert values[row, column] == ease[row][expected[0]]
            assert mask[row][numpy(selection.indices)[row, column]]


@settings(max_examples=40, deadline=None)
@given(matrices(), some.sampled_from([Random(seed=1), DistanceWeighted(seed=1), DistanceWeighted(0.9, None, seed=1)]))
def test_draws_are_candidates_whenever_there_is_one(pair, strategy):
    similarity, mask = pair
    selection = select(strategy, -similarity, mask, dim=16)
    np.testing.assert_array_equal(numpy(selection.mask)[:, 0], mask.any(axis=1))
    for row in range(len(mask)):
        check_row(selection, mask, row)


@pytest.mark.backend("tensorflow", reason="only its graphs are traced for batches of any size")
@pytest.mark.parametrize("strategy", [Easy(), Hard(), SemiHard(), Random(), DistanceWeighted()])
def test_a_graph_knows_that_one_is_chosen(strategy):
    import tensorflow as tf

    def shapes(ease, mask):
        found = strategy.select(ease, mask, "negatives", threshold=ease[:, 0][:, None], dim=8)
        assert found.mask.shape[-1] == found.indices.shape[-1] == 1
        return found.mask

    signature = [tf.TensorSpec((None, None), kind) for kind in ("float32", "bool")]
    tf.function(shapes, input_signature=signature).get_concrete_function()


@pytest.mark.backend("tensorflow", reason="only its graphs are traced for batches of any size")
def test_a_graph_takes_batches_smaller_than_k():
    import tensorflow as tf

    loss = NTXentLoss(positives=Easy(2), negatives=Hard(3))
    signature = [tf.TensorSpec((None,), "int64"), tf.TensorSpec((None, 2), "float32")]
    rows = np.random.default_rng(0).standard_normal((5, 2)).astype("float32")
    traced = tf.function(loss, input_signature=signature)
    for size in (0, 1, 2, 5):
        labels = np.arange(size) // 2
        np.testing.assert_allclose(traced(labels, rows[:size]), loss(labels, rows[:size]), rtol=1e-5)


def test_ties_go_to_the_lowest_index():
    ease, mask = np.ones((1, 6), "float32") * 0.5, np.array([[False, True, True, False, True, True]])
    for strategy in (Easy(), Hard(), SemiHard()):
        selection = select(strategy, ease, mask, threshold=np.zeros((1, 1), "float32"))
        assert numpy(selection.indices).tolist() == [[1]]
    ease = np.tile(np.float32([0.5, 0.25]), (1, 40))
    for strategy, expected in ((Easy(3), [0, 2, 4]), (Hard(3), [1, 3, 5])):
        assert numpy(select(strategy, ease, np.ones((1, 80), bool)).indices).tolist() == [expected]


# --- copies ---


def test_copies_are_easy_positives_only_when_nothing_else_is_left():
    similarity = np.array([[0.99995, 0.5, 0.9, 1.0], [1.0, 0.99995, 0.2, 0.1]], "float32")
    mask = np.array([[True, True, True, True], [True, True, False, False]])
    assert numpy(select(Easy(), similarity, mask).indices).tolist() == [[2], [0]]
    assert numpy(select(Easy(copies_above=1), similarity, mask).indices).tolist() == [[3], [0]]
    assert numpy(select(Easy(copies_above=0.8), similarity, mask).indices).tolist() == [[1], [0]]
    two = select(Easy(3), similarity, mask)
    assert numpy(two.indices)[0].tolist() == [2, 1, 3]
    assert numpy(two.mask).tolist() == [
        [True] * 3,
        [True] * 2 + [False],
    ]


def test_an_opposite_negative_is_no_copy():
    similarity = np.array([[-1.0, -0.5, 0.2]], "float32")
    selection = select(Easy(), -similarity, np.ones((1, 3), bool), "negatives")
    assert numpy(selection.indices).tolist() == [[0]]


# --- draws ---


def frequencies(strategy, similarity, mask, dim, rows=10000):
    """How often each reference is drawn for one anchor, by drawing for many equal anchors at once."""
    ease = -np.tile(similarity.astype("float32"), (rows, 1))
    selection = select(strategy, ease, np.tile(mask, (rows, 1)), dim=dim)
    indices = numpy(selection.indices)[:, 0]
    assert numpy(selection.mask).all()
    assert ((indices >= 0) & (indices < len(mask))).all()
    assert mask[indices].all()
    return np.bincount(indices, minlength=len(mask)), rows


def check_frequencies(counts, probabilities, rows):
    """Chi-square over the references that are expected at all, six standard deviations wide."""
    assert not counts[probabilities == 0].any()
    likely = probabilities * rows >= 5
    expected = probabilities[likely] * rows
    statistic, freedom = np.sum(np.square(counts[likely] - expected) / expected), likely.sum() - 1
    assert statistic < freedom + 6 * np.sqrt(2 * max(freedom, 1)) + 6
    # Those too rare for the statistic, taken together.
    rare = probabilities[~likely].sum() * rows
    assert abs(counts[~likely].sum() - rare) <= 6 * np.sqrt(rare) + 1


# One block and less, exactly one, just more, several, not a multiple of 64.
@pytest.mark.parametrize("width", [5, 64, 130] if keras.backend.backend() == "jax" else [1, 5, 63, 64, 65, 130, 257])
@pytest.mark.parametrize("strategy", ["random", "distance_weighted", "distance_weighted unlimited"])
def test_frequencies_of_draws(strategy, width):
    random = np.random.default_rng(width)
    similarity, mask = random.uniform(-0.6, 0.9, width), random.random(width) < 0.7
    mask[-1] = True
    if strategy == "random":
        counts, rows = frequencies(Random(seed=5), similarity, mask, dim=4)
        probabilities = mask / mask.sum()
    else:
        upper_cutoff = 1.4 if strategy == "distance_weighted" else None
        counts, rows = frequencies(DistanceWeighted(0.5, upper_cutoff, seed=5), similarity, mask, dim=4)
        probabilities = np.zeros(width)
        probabilities[mask] = reference.distance_probabilities(similarity[mask], 4, 0.5, upper_cutoff)
    check_frequencies(counts, probabilities, rows)


def test_the_frequency_check_notices_a_bias():
    with pytest.raises(AssertionError):
        check_frequencies(np.array([5300, 4700]), np.array([0.5, 0.5]), 10000)


@pytest.mark.parametrize("dim", [2, 3, 8, 128, 2048])
@pytest.mark.parametrize(("cutoff", "upper_cutoff"), [(0.5, 1.4), (0.1, None), (1.0, 2.0)])
def test_distance_weights_equal_the_oracle(dim, cutoff, upper_cutoff):
    similarity = np.random.default_rng(dim).uniform(-1, 1, (5, 40))
    similarity[0, :3], similarity[1] = [1.0, -1.0, 0.0], -0.9
    mask = np.random.default_rng(1).random((5, 40)) < 0.5
    mask[:2, :3] = True
    weights = numpy(DistanceWeighted(cutoff, upper_cutoff).weights(tensor(similarity), tensor(mask), dim))
    assert np.isfinite(weights).all()
    assert not weights[~mask].any()
    for row in range(5):
        expected = reference.distance_probabilities(similarity[row, mask[row]], dim, cutoff, upper_cutoff)
        found = weights[row, mask[row]] / weights[row].sum()
        # Row 0 has a negative at the opposite pole, where the density is steep.
        np.testing.assert_allclose(found, expected, rtol=1e-6 if row else 1e-3, atol=1e-12)


def test_the_nearest_negative_is_taken_when_all_are_beyond_the_cutoff():
    similarity = np.array([[-0.9, -0.5, -0.7, 0.9]], "float32")
    selection = select(DistanceWeighted(seed=0), -similarity, np.array([[True, True, True, False]]), dim=8)
    assert numpy(selection.indices).tolist() == [[1]]
    assert numpy(selection.mask).all()


@pytest.mark.parametrize("strategy", [Random, DistanceWeighted])
def test_a_seed_gives_the_same_draws_again_and_new_ones_each_step(strategy):
    similarity, mask = np.random.default_rng(0).uniform(-0.5, 1, (50, 70)).astype("float32"), np.ones((50, 70), bool)

    def run(seed):
        made = strategy(seed=seed)
        return [numpy(select(made, -similarity, mask, dim=3).indices).tolist() for _ in range(2)]

    first, second = run(3)
    assert run(3) == [first, second]
    assert first != second
    assert run(4)[0] != first


# --- names, configs, refusals ---


STRATEGIES = [
    All(),
    Easy(),
    Easy(3, copies_above=0.5),
    Hard(),
    Hard(k=2),
    SemiHard(),
    SemiHard("skip"),
    DistanceWeighted(),
    DistanceWeighted(0.3, None, seed=4),
    Random(seed=9),
]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_config_round_trip(strategy):
    config = json.loads(json.dumps(strategy.get_config()))
    again = type(strategy).from_config(config)
    assert again.get_config() == config == strategy.get_config()
    assert repr(again) == repr(strategy)
    written = json.loads(json.dumps(keras.saving.serialize_keras_object(strategy)))
    assert written["registered_name"] == f"keras_epos>{type(strategy).__name__}"
    read = mining.get(written)
    assert type(read) is type(strategy)
    assert read.get_config() == config
    assert mining.get(strategy) is strategy


def test_by_name():
    for name, strategy in mining.STRATEGIES.items():
        assert type(mining.get(name)) is strategy
    for wrong in ("easiest", None, 3, Easy, {}):
        with pytest.raises((ValueError, TypeError)):
            mining.get(wrong, "positives")
    with pytest.raises(ValueError, match=r"`positives` must be one of .* Received: positives='easiest'"):
        mining.get("easiest", "positives")
    for wrong, argument, near in (
        ("semihard", "negatives", "semi_hard"),
        ("hrad", "positives", "hard"),
        ("semi_hrad", "strategy", "semi_hard"),
    ):
        with pytest.raises(ValueError, match=rf"Received: {argument}='{wrong}'\. Did you mean '{near}'\?"):
            mining.get(wrong, argument)
    # Where semi-hard ones cannot be had nobody is sent to them.
    with pytest.raises(ValueError, match="`positives` must be one of") as error:
        mining.get("semi_hrad", "positives")
    assert "'semi_hard'" not in str(error.value)


@pytest.mark.parametrize(
    ("strategy", "settings", "message"),
    [
        (Easy, {"k": 0}, "`k` must be an integer of at least 1"),
        (Easy, {"k": 1.5}, "`k` must be an integer of at least 1"),
        (Hard, {"k": -1}, "`k` must be an integer of at least 1"),
        (Hard, {"k": True}, "`k` must be an integer of at least 1"),
        (Easy, {"copies_above": 0}, "`copies_above` must be a cosine similarity"),
        (Easy, {"copies_above": 1.1}, "`copies_above` must be a cosine similarity"),
        (SemiHard, {"fallback": "random"}, "`fallback` must be"),
        (DistanceWeighted, {"cutoff": 0}, "`cutoff` must be a distance"),
        (DistanceWeighted, {"cutoff": 2}, "`cutoff` must be a distance"),
        (DistanceWeighted, {"upper_cutoff": 0.4}, "`upper_cutoff` must be a distance"),
        (DistanceWeighted, {"upper_cutoff": 2.1}, "`upper_cutoff` must be a distance"),
    ],
)
def test_settings_are_checked(strategy, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        strategy(**settings)
    assert "Received: " in str(error.value)


@pytest.mark.backend("jax", reason="the others keep the state of a generator that no model tracks")
def test_a_plain_model_draws_anew_in_every_step():
    from keras_epos import losses

    labels, inputs = np.arange(16) % 4, np.random.default_rng(0).standard_normal((16, 5)).astype("float32")
    for loss in (
        losses.TripletLoss(1.0, negatives="random", average_over="valid"),
        losses.WeightedSum({"margin": losses.MarginLoss(average_over="valid", positives="random")}),
    ):
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4)])
        model.compile(keras.optimizers.SGD(0.0), loss=loss)
        history = model.fit(inputs, labels, batch_size=16, epochs=4, verbose=0).history["loss"]
        assert len(set(history)) == 4
