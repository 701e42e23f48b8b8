"""BestInterpolation: exact weights between start and end, the best of them, and runs that go on."""

import warnings

import keras
import numpy as np
import pytest

from keras_epos import BestInterpolation, EmbeddingModel, ProxyAnchorLoss, RecallAtK

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(24, 6)).astype("float32")
LABELS = np.arange(24) % 4
SHARES = (0, 0.25, 0.5, 0.75, 1)


class Judge(RecallAtK):
    """Gives its values in the order of the shares, and keeps the weights that it was shown."""

    def __init__(self, *values):
        super().__init__(IMAGES, LABELS, k=(2,), metrics="recall")
        self.values, self.shown = list(values), []

    def evaluate(self, model):
        self.shown.append(weights_of(model.weights))
        return {"recall@2": self.values[len(self.shown) - 1]}


def built(dtype=None):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((6,)), keras.layers.Dense(5), keras.layers.BatchNormalization(), keras.layers.Dense(4)]
    model = keras.Sequential(layers)
    for layer in model.layers:
        layer.dtype_policy = dtype or layer.dtype_policy
    model.layers[0].trainable = False
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    return model


def fitted(model, *callbacks, epochs=1, **arguments):
    model.fit(IMAGES, LABELS, epochs=epochs, verbose=0, batch_size=12, callbacks=list(callbacks), **arguments)
    return weights_of(model.weights)


def weights_of(variables):
    return [np.array(keras.ops.convert_to_numpy(one)) for one in variables]


def equal(weights, expected):
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("policy", [None, "mixed_bfloat16"])
def test_the_weights_are_those_of_the_best_share(policy, capsys):
    start = weights_of(built(policy).weights)
    trained = fitted(built(policy))
    assert any(np.abs(one - other).max() > 1e-4 for one, other in zip(start, trained, strict=True))
    cases = ((0.25, 0.25, 0.5, 0.5, 0.5), 0.5), ((0.5, 0.5, 0.25, 0.25, 0.5), 0), ((0, 0.25, 0.5, 0.5, 0.75), 1)
    for values, share in cases:
        callback = BestInterpolation(Judge(*values))
        weights = fitted(built(policy), callback)
        for shown, part in zip(callback.recall.shown, SHARES, strict=True):
            equal(shown, [one + part * (other - one) for one, other in zip(start, trained, strict=True)])
        equal(weights, callback.recall.shown[SHARES.index(share)])
        assert callback.share == share
        assert callback.results == dict(zip(SHARES, values, strict=True))
        # Both ends are exact, and so is what was frozen at any share.
        for one, other in zip(weights, {0: start, 1: trained}.get(share, start[:2]), strict=False):
            np.testing.assert_array_equal(one, other)
    assert "recall@2 of held-out classes is 25.0% at 0, 25.0% at 0.25, 50.0% at 0.5" in capsys.readouterr().out


def test_a_run_that_goes_on_starts_where_it_first_began(tmp_path):
    values = (0.1, 0.2, 0.3, 0.5, 0.4)
    model = built()
    model.save(tmp_path / "start.keras")
    whole = BestInterpolation(Judge(*values))
    expected = fitted(model, whole, epochs=2, shuffle=False)
    for start in (tmp_path / "start.keras", str(tmp_path / "start.keras"), whole.start):
        model = built()
        fitted(model, epochs=1, shuffle=False)
        callback = BestInterpolation(Judge(*values), start=start)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            equal(fitted(model, callback, epochs=2, initial_epoch=1, shuffle=False), expected)
        # All epochs were done before: it only remains to choose.
        fitted(model, BestInterpolation(Judge(0.9, 0, 0, 0, 0), start=start), epochs=2, initial_epoch=2)
        equal(weights_of(model.weights), weights_of(built().weights))
    with pytest.warns(UserWarning, match="was trained before this `fit`.*Pass `start`"):
        fitted(model, BestInterpolation(Judge(*values)))


def test_a_run_that_is_stopped_chooses_too():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    model = built()
    callback = BestInterpolation(Judge(0.9, 0, 0, 0, 0))
    equal(fitted(model, callback, Stop(), epochs=5), weights_of(built().weights))
    assert callback.share == 0


def test_integers_and_the_weights_of_losses_keep_what_was_trained():
    class Counts(keras.layers.Layer):
        def build(self, shape):
            self.count = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False)

        def call(self, inputs, training=False):
            if training:
                self.count.assign_add(1)
            return inputs

    keras.utils.set_random_seed(0)
    backbone = keras.Sequential([keras.Input((6,)), Counts()])
    model = EmbeddingModel(backbone, 4)
    model.compile("sgd", ProxyAnchorLoss(num_classes=4), run_eagerly=True)
    kernel = weights_of([model.embedding.kernel])[0]
    own = {id(weight) for weight in model.own_weights}
    (proxies,) = (weight for weight in model.weights if id(weight) not in own)
    before = weights_of([proxies])[0]
    fitted(model, BestInterpolation(Judge(0.9, 0, 0, 0, 0)))
    np.testing.assert_array_equal(weights_of([model.embedding.kernel])[0], kernel)
    assert np.abs(weights_of([proxies])[0] - before).max() > 1e-6
    assert int(backbone.layers[0].count) == 2


def test_measured_by_the_recall_that_it_is_given():
    model = built()
    recall = RecallAtK(IMAGES, LABELS, k=(1,), metrics="recall")
    callback = BestInterpolation(recall)
    fitted(model, callback)
    assert callback.results[callback.share] == max(callback.results.values())
    assert recall.evaluate(model)["recall@1"] == callback.results[callback.share]


def test_trained_weights_remain_when_measuring_fails():
    class Diverges(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            self.model.layers[-1].bias.assign([np.nan] * 4)

    model = built()
    with pytest.raises(ValueError, match="finite"):
        fitted(model, Diverges(), BestInterpolation(RecallAtK(IMAGES, LABELS)))
    assert np.isnan(weights_of(model.weights)[-1]).all()


def test_wrong_arguments():
    with pytest.raises(ValueError, match="`recall` must be a RecallAtK of held-out classes"):
        BestInterpolation("recall@1")
    for shares in ((0.5, 1), (0, 0.5), (0, 1, 1.5), 0.5, ()):
        with pytest.raises(ValueError, match=r"`shares` must be numbers in 0\.\.1, 0 and 1 among them"):
            BestInterpolation(Judge(), shares)
    with pytest.raises(ValueError, match="`start` must hold the 8 floating-point weights"):
        fitted(built(), BestInterpolation(Judge(), start=[np.zeros(3)]))
