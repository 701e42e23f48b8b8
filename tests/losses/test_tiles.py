"""Large batches are mined by tiles on a CPU: what is chosen is what a matrix of all pairs would say."""

import keras
import numpy as np
import pytest
from loss_cases import LOSSES, ON_JAX, batch, make, numpy, tensor, traceable, value_and_gradient

import keras_epos
from keras_epos import same_class
from keras_epos.losses import _pair_loss, _tiles
from keras_epos.mining import Easy, Hard, SemiHard

POSITIVES = [Easy(), Hard(), Easy(copies_above=0.9, copies="drop"), Easy(copies_above=0.5)]
NEGATIVES = [SemiHard(), SemiHard("hardest"), SemiHard("skip"), Hard(), Easy()]
RANDOM = np.random.default_rng(0)


def wanted(labels, rows, positives, negatives):
    """What loops find: for each row the cosines of its positive and of its negative, and whether it has both."""
    cosine = rows @ rows.T
    found = []
    for anchor, label in enumerate(labels):
        same = [place for place in np.flatnonzero(labels == label) if place != anchor]
        others = np.flatnonzero(labels != label)
        near = far = None
        if same:
            near = _best(positives, {place: cosine[anchor, place] for place in same}, "positives")
        if len(others) and (near is not None or not negatives.relative):
            to_exceed = -cosine[anchor, near] if negatives.relative else None
            far = _best(negatives, {place: -cosine[anchor, place] for place in others}, "negatives", to_exceed)
        found.append((near, far, bool(same) and len(others) > 0))
    return cosine, found


def _best(strategy, ease, side, threshold=None):
    preferred = {}
    for place, value in ease.items():
        if isinstance(strategy, Hard):
            preferred[place] = (1, -value)
        elif isinstance(strategy, Easy):
            is_copy = side == "positives" and value > strategy.copies_above and strategy.copies_above < 1
            if not (is_copy and strategy.copies == "drop"):
                preferred[place] = (0 if is_copy else 1, value)
        elif value > threshold + 1e-12:
            preferred[place] = (1, -value)
        elif strategy.fallback != "skip":
            preferred[place] = (0, value if strategy.fallback == "easiest" else -value)
    return max(preferred, key=preferred.get) if preferred else None


def batches():
    """Labels in every order, of classes that fill many tiles or none."""
    yield "one of each", np.arange(9)
    yield "one class", np.zeros(9, int)
    yield "pairs", RANDOM.permutation(np.arange(22) // 2)
    yield "a class of many tiles", RANDOM.permutation([*[5] * 17, 1, 1, 2, 2, 2, 9])
    yield "uneven", RANDOM.permutation(np.repeat(np.arange(6), [1, 2, 3, 4, 5, 6]))
    yield "of both signs", np.array([-3, 7, -3, 7, 0, -3])
    yield "two", np.array([4, 4])
    yield "alone", np.array([4])


@pytest.mark.parametrize("sizes", [(3, 4), (5, 7), (50, 50)][: 1 if ON_JAX else 3])
def test_tiles_find_what_loops_find(sizes, monkeypatch):
    monkeypatch.setattr(_tiles, "POSITIVES_TILE", sizes[0])
    monkeypatch.setattr(_tiles, "NEGATIVES_TILE", sizes[1])
    pairs = [(positive, negative) for positive in POSITIVES for negative in NEGATIVES]
    for place, (name, labels) in enumerate(batches()):
        rows = RANDOM.normal(size=(len(labels), 3))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        for positives, negatives in pairs[place::7] if ON_JAX else pairs[place::3]:
            cosine, expected = wanted(labels, rows, positives, negatives)
            found = _tiles.found_by_tiles(tensor(labels, "int32"), tensor(rows), positives, negatives)
            for side, column in ((found.positives, 0), (found.negatives, 1)):
                indices, some, its_cosine = (numpy(part)[:, 0] for part in side[:3])
                for anchor, choices in enumerate(expected):
                    assert some[anchor] == (choices[2] and choices[column] is not None), (name, positives, negatives)
                    if some[anchor]:
                        best = cosine[anchor, choices[column]]
                        for value in (cosine[anchor, indices[anchor]], its_cosine[anchor]):
                            np.testing.assert_allclose(
                                value, best, atol=1e-12, err_msg=f"{name} {positives} {negatives}"
                            )
            assert numpy(found.valid)[:, 0].tolist() == [has_both for *_, has_both in expected]


@pytest.fixture
def tiles(monkeypatch):
    """Tiles of 4 and 5 of any batch, and the sides that were searched."""
    sides = []

    def recorded(labels, rows, strategy, side, *others, search=_tiles._search):
        sides.append(side)
        return search(labels, rows, strategy, side, *others)

    monkeypatch.setattr(_tiles, "_search", recorded)
    monkeypatch.setattr(_tiles, "POSITIVES_TILE", 4)
    monkeypatch.setattr(_tiles, "NEGATIVES_TILE", 5)
    monkeypatch.setattr(_pair_loss, "LARGE", 0)
    return sides


CHOSEN = [("easy", "hard"), ("easy", "semi_hard"), ("hard", "semi_hard skip"), ("hard", "easy")]


@pytest.mark.parametrize("loss", ["triplet", "margin", "N-pairs", "NT-Xent", "angular"] if ON_JAX else sorted(LOSSES))
def test_tiles_change_no_loss(loss, tiles, monkeypatch):
    labels, embeddings = batch(seed=11)
    place = sorted(LOSSES).index(loss)
    for positives, negatives in (CHOSEN[place % 4], CHOSEN[(place + 1) % 4])[: 1 if ON_JAX else 2]:
        made = make(loss, positives, negatives, average_over="valid")
        del tiles[:]
        value, slope = value_and_gradient(made, labels, tensor(embeddings))
        assert set(tiles) == ({"positives", "negatives"} if type(made).select is _pair_loss.PairLoss.select else set())
        result = made.result(labels, tensor(embeddings))
        with monkeypatch.context() as patch:
            patch.setattr(_pair_loss, "LARGE", 10**9)
            expected, expected_slope = value_and_gradient(made, labels, tensor(embeddings))
            whole = made.result(labels, tensor(embeddings))
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        np.testing.assert_allclose(numpy(slope), numpy(expected_slope), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(numpy(result.values), numpy(whole.values), rtol=1e-12)
        for name, statistic in whole.statistics.items():
            np.testing.assert_allclose(numpy(result.statistics[name]), numpy(statistic), rtol=1e-9, atol=1e-15)


def test_what_is_more_than_a_preference_is_not_mined_by_tiles(tiles, monkeypatch):
    labels, embeddings = batch()

    class Farthest(Hard):
        def select(self, ease, mask, side, threshold=None, dim=None):
            return super().select(ease, mask, side)

    for settings in (
        {"ignore_label": 99},
        {"positives": Easy(2)},
        {"negatives": Hard(2)},
        {"negatives": Farthest()},
        {"negatives": "random"},
        {"same_class": lambda labels, others: labels[:, None] == others[None, :]},
    ):
        keras_epos.NTXentLoss(**{"positives": "easy", "negatives": "hard"} | settings)(labels, tensor(embeddings))
    memory = keras_epos.CrossBatchMemory(keras_epos.EasyPositiveTripletLoss(), size=8, memory_positives=False)
    memory.adopt(embeddings.shape[1])
    memory(labels, tensor(embeddings))
    keras_epos.MultiSimilarityLoss(positives="easy", negatives="hard")(labels, tensor(embeddings))
    assert not tiles
    same = keras_epos.NTXentLoss(positives="easy", negatives="hard", same_class=same_class.equal)
    same(labels, tensor(embeddings))
    assert tiles
    del tiles[:]
    monkeypatch.setattr(_pair_loss, "is_on_cpu", lambda rows: False)
    same(labels, tensor(embeddings))
    assert not tiles


def test_a_batch_of_2048_is_mined_by_tiles(tiles, monkeypatch):
    monkeypatch.setattr(_pair_loss, "LARGE", 2**20)
    loss = keras_epos.EasyPositiveTripletLoss()
    for size in (1024, 1025):
        rows = keras.ops.ones((size, 2), "float32")
        assert loss._is_mined_in_strips(size * size) == (size > 1024)
        assert loss._is_mined_in_tiles(rows, None)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint64", "int8"])
def test_labels_of_every_dtype(dtype, tiles, monkeypatch):
    _, embeddings = batch(seed=3)
    labels = np.array([100, 101, 127, 101, 0, 100, 0, 127, 100, 5, 5, 0], dtype)
    if dtype == "uint64" and not ON_JAX and keras.backend.backend() != "torch":
        labels += np.uint64(2**63)
    loss = keras_epos.EasyPositiveTripletLoss(0.5, dtype="float64")
    found = float(loss(labels, tensor(embeddings)))
    assert tiles
    monkeypatch.setattr(_pair_loss, "LARGE", 10**9)
    np.testing.assert_allclose(found, float(loss(labels, tensor(embeddings))), rtol=1e-12)
    assert found > 0


@pytest.mark.parametrize("kind", ["one point", "two points", "zeros", "not finite"])
def test_degenerate_batches(kind, tiles, monkeypatch):
    rows = {
        "one point": np.ones((11, 4)),
        "two points": np.tile(np.eye(4)[:2], (6, 1))[:11],
        "zeros": np.zeros((11, 4)),
        "not finite": np.full((11, 4), np.nan),
    }[kind]
    labels = np.arange(11) % 3
    loss = keras_epos.EasyPositiveTripletLoss(0.5, dtype="float64")
    value, slope = value_and_gradient(loss, labels, tensor(rows))
    monkeypatch.setattr(_pair_loss, "LARGE", 10**9)
    expected, expected_slope = value_and_gradient(loss, labels, tensor(rows))
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert np.isnan(value) == (kind == "not finite")
    if kind != "not finite":
        assert np.isfinite(numpy(slope)).all()
        np.testing.assert_allclose(np.sum(numpy(slope)), np.sum(numpy(expected_slope)), atol=1e-12)


@pytest.mark.backend("tensorflow", reason="its graphs, and XLA")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_graphs(tiles, monkeypatch, jit_compile):
    import tensorflow as tf

    made = keras_epos.EasyPositiveTripletLoss(dtype="float64")

    both = traceable(made)
    labels, embeddings = batch(seed=13, classes=(8, 7, 6, 2))
    for size in (23, 10, 9, 5, 4, 3, 1, 0)[:: 2 if jit_compile else 1]:
        del tiles[:]
        traced = tf.function(both, jit_compile=jit_compile)
        found, found_slope = traced(tensor(labels[:size], "int64"), tensor(embeddings[:size]))
        assert tiles or not size
        with monkeypatch.context() as patch:
            patch.setattr(_pair_loss, "LARGE", 10**9)
            value, slope = value_and_gradient(made, labels[:size], tensor(embeddings[:size]))
        np.testing.assert_allclose(found, value, rtol=1e-12)
        np.testing.assert_allclose(found_slope, slope, rtol=1e-9, atol=1e-12)
    del tiles[:]
    signature = [tf.TensorSpec([None], "int64"), tf.TensorSpec([None, 5], "float64")]
    tf.function(both, input_signature=signature).get_concrete_function()
    assert not tiles
