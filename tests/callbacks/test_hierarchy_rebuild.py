"""The callback: when it builds, that loss and batches get the tree, that nothing is traced anew, and resuming."""

import keras
import numpy as np
import pytest

import keras_epos
from keras_epos.callbacks import HierarchyRebuild
from keras_epos.data import AnchorNeighborIndices, batches
from keras_epos.hierarchy import ClassHierarchy
from keras_epos.losses import HierarchicalTripletLoss, TripletLoss, WeightedSum

CLASSES = 8
RANDOM = np.random.default_rng(0)
LABELS = np.repeat(np.arange(CLASSES), 6)
INPUTS = (RANDOM.standard_normal((CLASSES, 5))[LABELS] + 0.7 * RANDOM.standard_normal((48, 5))).astype("float32")
FIT = {"batch_size": 24, "shuffle": False, "verbose": 0}
# Every other sample of a class, so that a batch has positives.
ORDER = np.arange(48).reshape(CLASSES, 2, 3).swapaxes(0, 1).ravel()


def compiled(loss=None, **arguments):
    keras.utils.set_random_seed(0)
    model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((5,)), keras.layers.Dense(6)]), 4)
    loss = HierarchicalTripletLoss(CLASSES) if loss is None else loss
    model.compile(keras.optimizers.Adam(1e-2), loss=loss, **arguments)
    return model


def fit(model, callback, epochs, initial_epoch=0):
    inputs, labels = INPUTS[ORDER], LABELS[ORDER]
    return model.fit(inputs, labels, epochs=epochs, initial_epoch=initial_epoch, callbacks=[callback], **FIT).history


def test_the_tree_is_that_of_the_embeddings_before_the_epoch():
    model = compiled()
    expected = ClassHierarchy.from_embeddings(model.predict(INPUTS, verbose=0), LABELS)
    callback = HierarchyRebuild(INPUTS, LABELS)
    fit(model, callback, 1)
    np.testing.assert_allclose(model.loss.hierarchy.means, expected.means, atol=1e-6)
    np.testing.assert_array_equal(model.loss.hierarchy.nodes, callback.hierarchy.nodes)
    assert callback.history[0]["epoch"] == 0
    assert callback.history[0]["nodes"][0] == CLASSES
    assert callback.history[0]["nodes"][-1] == 1
    assert callback.history[0]["mean_spread"] == pytest.approx(expected.thresholds[0], abs=1e-5)


@pytest.mark.backend("tensorflow", "torch", reason="each fit is compiled anew")
@pytest.mark.parametrize(("every", "warm_up_epochs", "built"), [(1, 0, [0, 1, 2, 3, 4]), (3, 1, [1, 4]), (1, 9, [])])
def test_when_it_builds(every, warm_up_epochs, built):
    callback = HierarchyRebuild(INPUTS, LABELS, every=every, warm_up_epochs=warm_up_epochs)
    model = compiled()
    fit(model, callback, 5)
    assert [entry["epoch"] for entry in callback.history] == built
    assert (model.loss.hierarchy is None) == (not built)


def test_nothing_is_traced_anew_and_every_tree_counts():
    traced = []

    class Counting(HierarchicalTripletLoss):
        def formula(self, *arguments):
            traced.append(1)
            return super().formula(*arguments)

    losses, calls = [], []
    for every in (1, 100):
        traced.clear()
        callback = HierarchyRebuild(INPUTS, LABELS, every=every)
        losses.append(fit(compiled(Counting(CLASSES)), callback, 5)["loss"])
        calls.append(len(traced))
        assert len(callback.history) == (5 if every == 1 else 1)
    # As often with five trees as with one; PyTorch calls it in every step.
    assert calls[0] == calls[1]
    assert keras.backend.backend() == "torch" or calls[0] < 5
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5)
    assert abs(losses[0][-1] - losses[1][-1]) > 1e-4


@pytest.mark.backend("tensorflow", "torch", reason="each fit is compiled anew")
def test_resumed_exactly_with_the_tree_in_use(tmp_path):
    whole = fit(compiled(), HierarchyRebuild(INPUTS, LABELS, every=3), 5)["loss"]
    model = compiled()
    first = fit(model, HierarchyRebuild(INPUTS, LABELS, every=3), 2)["loss"]
    model.save(tmp_path / "model.keras")
    again = HierarchyRebuild(INPUTS, LABELS, every=3)
    rest = fit(keras.saving.load_model(tmp_path / "model.keras"), again, 5, initial_epoch=2)["loss"]
    assert first + rest == pytest.approx(whole, rel=1e-5)
    assert [entry["epoch"] for entry in again.history] == [3]


@pytest.mark.backend("tensorflow", reason="tf.data")
@pytest.mark.parametrize("loss", ["tree", "sum", "triplet"])
def test_batches_take_the_neighbors(loss):
    loss = {
        "tree": HierarchicalTripletLoss(CLASSES, num_levels=9),
        "sum": WeightedSum({"a": TripletLoss(), "b": HierarchicalTripletLoss(CLASSES, num_levels=9)}),
        "triplet": TripletLoss(),
    }[loss]
    indices = AnchorNeighborIndices(LABELS, 2, 2, 3)
    drawn, plain = [], type(indices).__call__

    class Recorded(AnchorNeighborIndices):
        def __call__(self, steps):
            drawn.append((self._neighbors, plain(self, steps)))
            return drawn[-1][1]

    indices.__class__ = Recorded
    callback = HierarchyRebuild(INPUTS, LABELS, indices=indices, warm_up_epochs=1)
    model = compiled(loss)
    model.fit(batches(INPUTS, indices, steps=3), epochs=3, callbacks=[callback], verbose=0)
    (none, at_random), (first, _), (second, last) = drawn
    assert none is None
    np.testing.assert_array_equal(at_random, AnchorNeighborIndices(LABELS, 2, 2, 3)(np.arange(3)))
    assert first is not second
    fresh = AnchorNeighborIndices(LABELS, 2, 2, 3, hierarchy=callback.hierarchy)
    np.testing.assert_array_equal(last, fresh(np.arange(6, 9)))
    assert callback.hierarchy.num_levels == (16 if isinstance(loss, TripletLoss) else 9)


@pytest.mark.backend("tensorflow", reason="tf.data")
def test_resumed_batches_are_those_of_the_tree_in_use(tmp_path):
    def run(model, epochs, initial_epoch=0):
        indices = AnchorNeighborIndices(LABELS, 2, 2, 3)
        dataset = batches(INPUTS, indices, steps=3, start_step=3 * initial_epoch)
        callback = HierarchyRebuild(INPUTS, LABELS, indices=indices)
        fitted = model.fit(dataset, epochs=epochs, initial_epoch=initial_epoch, callbacks=[callback], verbose=0)
        return fitted.history["loss"]

    whole, model = run(compiled(), 5), compiled()
    first = run(model, 2)
    model.save(tmp_path / "model.keras")
    assert first + run(keras.saving.load_model(tmp_path / "model.keras"), 5, 2) == pytest.approx(whole, rel=1e-5)


def test_refusals():
    for change in ({"every": 0}, {"warm_up_epochs": -1}, {"batch_size": 0}):
        with pytest.raises(ValueError, match=f"`{next(iter(change))}` must be"):
            HierarchyRebuild(INPUTS, LABELS, **change)
    with pytest.raises(ValueError, match="`indices` must be given to a model without a HierarchicalTripletLoss"):
        fit(compiled(TripletLoss()), HierarchyRebuild(INPUTS, LABELS), 1)
    with pytest.raises(ValueError, match="must have the classes 0 to 7"):
        fit(compiled(), HierarchyRebuild(INPUTS[:40], LABELS[:40]), 1)
