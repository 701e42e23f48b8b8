"""FrozenBaseline: what is measured without training, what is said, and what the model is left with."""

import warnings

import keras
import numpy as np
import pytest

from keras_epos import EmbeddingModel, FrozenBaseline, RecallAtK, TripletLoss, retrieval
from keras_epos._linear_probe import linear_probe

RNG = np.random.default_rng(0)
# Classes differ in directions that vary little, beside others that vary much and say nothing.
DIRECTIONS = RNG.normal(size=(9, 3))


def of_classes(classes, number=12):
    labels = np.repeat(classes, number)
    noise = RNG.normal(size=(len(labels), 6)) * [0.3, 0.3, 0.3, 4, 4, 4]
    return (np.pad(DIRECTIONS[labels], ((0, 0), (0, 3))) + noise + 10).astype("float32"), labels


TRAIN, HELD_OUT = of_classes(np.arange(5)), of_classes(np.arange(5, 9))


class Moves(keras.callbacks.Callback):
    """Sets the head anew at the end of each epoch, as a training would that leads elsewhere."""

    def __init__(self, *kernels):
        super().__init__()
        self.kernels = kernels

    def on_epoch_end(self, epoch, logs=None):
        self.model.embedding.kernel.assign(self.kernels[epoch])


def built(dim=4, policy=None, size=6, rate=0.0):
    """A model whose preprocessing is a part of its backbone."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((6,)), keras.layers.Rescaling(1.0, offset=-10.0), keras.layers.Identity()]
    layers += [keras.layers.Dense(size)] * (size != 6)
    model = EmbeddingModel(keras.Sequential(layers), dim, dtype=policy)
    model.compile(keras.optimizers.SGD(rate), loss=TripletLoss(), run_eagerly=True)
    return model


def guard(**arguments):
    return FrozenBaseline(*HELD_OUT, train=TRAIN, k=(1, 2), metrics="recall", **arguments)


def fit(model, *callbacks, epochs=1, **arguments):
    return model.fit(
        *TRAIN, batch_size=60, epochs=epochs, verbose=0, shuffle=False, callbacks=list(callbacks), **arguments
    ).history


def weights_of(model):
    return [np.array(keras.ops.convert_to_numpy(one)) for one in model.weights]


def recall(rows):
    return retrieval.evaluate(rows, HELD_OUT[1], k=(1, 2), metrics="recall")["recall@1"]


def good_head(dim):
    """Sees only what tells the classes apart."""
    return np.eye(6, dim)


def bad_head(dim):
    """Sees only what says nothing."""
    return np.roll(np.eye(6, dim), 3, axis=0) * ([[0.0]] * 3 + [[1.0]] * 3)


def test_features_and_probe_are_measured_once_and_stand_in_every_epoch(capsys):
    model, callback = built(), guard()
    logs = fit(model, callback, epochs=3)
    features = HELD_OUT[0] - 10
    probe = linear_probe(TRAIN[0] - 10, TRAIN[1], 4)
    expected = recall(features), recall(features.astype("float64") @ probe.kernel + probe.bias)
    assert logs["val_frozen_recall@1"] == [expected[0]] * 3
    assert logs["val_probe_recall@1"] == [expected[1]] * 3
    assert expected[1] > expected[0] + 0.15
    assert callback.baseline["backbone"]["recall@1"] == expected[0]
    plain = RecallAtK(*HELD_OUT, k=(1, 2), metrics="recall")
    fit(built(), plain)
    assert callback.baseline == {**plain.baseline, "probe": callback.baseline["probe"]}
    assert callback.history[0] == plain.history[0]
    assert callback.restored is None
    assert "FrozenBaseline: recall@1 is" in capsys.readouterr().out


def test_measuring_changes_neither_weights_nor_random_numbers():
    models = [built(rate=0.1), built(rate=0.1)]
    fit(models[0], guard())
    fit(models[1])
    for one, other in zip(*map(weights_of, models), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("dim", "policy"), [(4, None), (8, None), (4, "mixed_bfloat16"), (8, "mixed_float16")])
def test_where_nothing_beats_it_the_model_becomes_the_probe(dim, policy, capsys):
    model, callback = built(dim, policy), guard(restore_best=True)
    fit(model, callback, Moves(bad_head(dim), bad_head(dim)), epochs=2)
    assert callback.restored == "probe"
    level = callback.baseline["probe"]["recall@1"]
    assert level == max(values["recall@1"] for values in callback.baseline.values())
    found = recall(model.predict(HELD_OUT[0], verbose=0))
    assert found == pytest.approx(level, abs=1e-9 if policy is None else 0.07)
    shown = capsys.readouterr().out
    assert shown.endswith(f"{callback.verdict}\n")
    assert f"so behind the {level:.1%} of a linear probe, a layer found without training" in shown
    assert f"is left with its frozen backbone and the linear probe as its head, which has {found:.1%}." in shown


def test_a_gain_is_kept_as_it_was_in_its_best_epoch(capsys):
    model, callback = built(), guard(restore_best=True)
    heads = [bad_head(4), good_head(4), bad_head(4)]
    # Measured before the head moves on, so an epoch has what the one before it set.
    fit(model, callback, Moves(*heads), epochs=3)
    values = [entry["recall@1"] for entry in callback.history]
    assert max(values) == values[2] > callback.baseline["probe"]["recall@1"]
    assert callback.restored == 2
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model.embedding.kernel), good_head(4))
    shown = capsys.readouterr().out
    assert "after epoch 3, and so ahead of the" in shown
    assert "The model is left as it was after epoch 3." in shown


def judged(values, baseline, dim):
    """The guard after epochs that measure `values`, beside these figures of what needs no training, and its model."""
    callback, model, measured = guard(restore_best=True), built(dim), iter(values)
    callback.evaluate = lambda model: {"recall@1": next(measured, -1.0), "queries_without_match": 0}
    callback._embedded = lambda model, output: ()
    callback._judged = lambda *embedded: {"recall@1": 0.0}

    def baseline_of(features):
        callback.probe = linear_probe(*TRAIN, dim)
        return {part: {"recall@1": value} for part, value in baseline.items()}

    callback._baseline_of = baseline_of
    callback.set_model(model)
    callback.set_params({"epochs": len(values)})
    callback.on_train_begin()
    for epoch in range(len(values)):
        model.embedding.kernel.assign(np.full((6, dim), epoch + 1.0))
        callback.on_epoch_end(epoch, {})
    callback.on_train_end()
    return callback, model


@pytest.mark.parametrize(
    ("values", "baseline", "dim", "restored"),
    [
        ([0.2, 0.4, 0.3], {"backbone": 0.1, "probe": 0.3}, 6, 1),
        ([0.2, 0.4, 0.3], {"backbone": 0.4, "probe": 0.3}, 6, "backbone"),
        ([0.2, 0.4, 0.3], {"backbone": 0.3, "probe": 0.4}, 6, "probe"),
        ([0.2, 0.4, 0.3], {"backbone": 0.5, "probe": 0.5}, 6, "backbone"),
        # Fewer dimensions than features: the model cannot have the features as they are.
        ([0.2, 0.4, 0.3], {"backbone": 0.9, "probe": 0.5}, 4, "probe"),
        ([0.2, 0.4, 0.3], {"backbone": 0.9, "probe": 0.3}, 4, 1),
        ([0.0, 0.0], {"backbone": 0.0, "probe": 0.0}, 6, "start"),
        ([0.4, 0.4], {"backbone": 0.0, "probe": 0.0}, 4, 0),
    ],
)
def test_the_simplest_of_the_best_is_restored(values, baseline, dim, restored):
    callback, model = judged(values, baseline, dim)
    assert callback.restored == restored
    cannot = baseline["backbone"] == 0.9
    assert ("fewer dimensions than the features" in callback.verdict) == cannot
    kernel = keras.ops.convert_to_numpy(model.embedding.kernel)
    if isinstance(restored, int):
        assert (kernel == restored + 1).all()
    elif restored == "start":
        np.testing.assert_array_equal(kernel, keras.ops.convert_to_numpy(built(dim).embedding.kernel))
    elif restored == "backbone":
        np.testing.assert_array_equal(kernel, np.eye(6, dim))
    else:
        np.testing.assert_allclose(kernel, callback.probe.kernel, rtol=1e-6)


def test_the_backbone_goes_back_to_its_start_with_the_probe():
    model, callback = built(6, size=5, rate=20.0), guard(restore_best=True)
    start = weights_of(model.backbone)
    fit(model, callback, epochs=2)
    assert callback.restored in ("backbone", "probe", "start")
    for one, other in zip(weights_of(model.backbone), start, strict=True):
        np.testing.assert_array_equal(one, other)
    assert callback.evaluate(model)["recall@1"] == max(
        values["recall@1"] for values in [*callback.baseline.values(), *callback.history]
    )


def test_a_head_of_another_kind_is_left_as_it_was():
    model, callback = built(6), guard(restore_best=True)
    model.embedding.enable_lora(2)
    assert callback.restored is None
    fit(model, callback)
    assert callback.restored in ("start", 0)


def test_a_run_that_goes_on_needs_what_was_measured(capsys):
    model, first = built(rate=0.1), guard()
    fit(model, first)
    with pytest.raises(ValueError, match="`baseline` must be that of the earlier part of a run"):
        fit(model, guard(), epochs=2, initial_epoch=1)
    again = guard(baseline=first.baseline)
    logs = fit(model, again, epochs=2, initial_epoch=1)
    assert logs["val_probe_recall@1"] == [first.baseline["probe"]["recall@1"]]
    with pytest.warns(UserWarning, match="at best an epoch of this `fit` can be restored"):
        fit(model, guard(baseline=first.baseline, restore_best=True), epochs=2, initial_epoch=1)
    for wrong in (False, {"start": {"recall@1": 0.5}}):
        with pytest.raises(ValueError, match="`baseline` must be True, or that of the FrozenBaseline"):
            guard(baseline=wrong)


def test_the_same_callback_in_two_fits_keeps_the_first_start():
    model, callback = built(), guard(restore_best=True)
    start = weights_of(model)
    fit(model, callback, Moves(bad_head(4)))
    callback.baseline = {part: {"recall@1": 2.0 * (part == "start")} for part in callback.baseline}
    fit(model, callback, Moves(None, good_head(4)), epochs=2, initial_epoch=1)
    assert callback.restored == "start"
    for one, other in zip(weights_of(model), start, strict=True):
        np.testing.assert_array_equal(one, other)


def test_galleries_and_batches():
    queries, gallery = (HELD_OUT[0][::2], HELD_OUT[1][::2]), (HELD_OUT[0][1::2], HELD_OUT[1][1::2])
    batches = [tuple(part[start : start + 25] for part in TRAIN) for start in range(0, len(TRAIN[0]), 25)]

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return len(batches)

        def __getitem__(self, index):
            return batches[index]

    callback = FrozenBaseline(*queries, train=Batches(), gallery=gallery, k=(1,), metrics="recall")
    fit(built(), callback)
    probe = linear_probe(TRAIN[0] - 10, TRAIN[1], 4)
    rows = [probe(part[0] - 10) for part in (queries, gallery)]
    expected = retrieval.evaluate(rows[0], queries[1], rows[1], gallery[1], k=(1,), metrics="recall")
    assert callback.baseline["probe"] == expected


def test_models_without_a_backbone_and_classes_without_a_probe_are_refused():
    plain = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    plain.compile("sgd", loss=TripletLoss())
    with pytest.raises(ValueError, match=r"`model` must be an `EmbeddingModel`.*use RecallAtK"):
        fit(plain, guard())
    with pytest.raises(ValueError, match=r"two classes at least\. Received: 1"):
        fit(built(), FrozenBaseline(*HELD_OUT, train=(TRAIN[0], np.zeros(60, int)), k=(1,)))
    with pytest.raises(ValueError, match=r"`train` must be \(images, labels\) or a data set"):
        FrozenBaseline(*HELD_OUT, train=(TRAIN[0],))
    with pytest.raises(TypeError, match="must be an argument of FrozenBaseline: images, labels, train"):
        FrozenBaseline(*HELD_OUT, train=TRAIN, restore=True)


def test_callbacks_that_put_back_an_epoch_afterwards_are_warned_of():
    stopping = keras.callbacks.EarlyStopping("val_recall@1", mode="max", restore_best_weights=True)
    with pytest.warns(UserWarning, match="EarlyStopping stands after FrozenBaseline and puts back"):
        fit(built(), guard(restore_best=True), stopping)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(built(), guard(), stopping)
