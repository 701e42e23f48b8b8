"""One way into every loss: a result, and nothing left on the loss by who called it."""

import inspect

import keras
import numpy as np
from loss_cases import numpy, tensor

import keras_epos
from keras_epos import losses
from keras_epos.losses import EmbeddingLoss
from keras_epos.losses._recording import recorded, recording

LABELS = np.arange(12) % 3
EMBEDDINGS = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")


def subclasses(base):
    return {base}.union(*(subclasses(one) for one in base.__subclasses__()))


def test_calls_are_the_same_in_every_loss():
    found = {one for one in subclasses(EmbeddingLoss) if one.__module__.startswith("keras_epos.losses")}
    assert len(found) > 35
    for one in found - {EmbeddingLoss}:
        assert not {"__call__", "call"} & set(vars(one)), one
    way_in = {one.__name__ for one in found if "result" in vars(one)}
    # Face losses with proxies, and centers, must know whether a step trains.
    assert way_in == {"EmbeddingLoss", "ProxyLoss", "CenterLoss", "WeightedSum", "CrossBatchMemory", "Matryoshka"}


def test_the_result_is_what_the_call_returns():
    weight = np.linspace(0, 2, 12).astype("float32")
    both = losses.WeightedSum({"pairs": losses.TripletLoss(), "norm": losses.NormPenalty()}, {"norm": 0.1})
    for loss in (losses.NTXentLoss(), losses.KoLeoPenalty(), both):
        result = loss.result(LABELS, tensor(EMBEDDINGS, "float32"))
        assert set(result.statistics) == set(loss.statistic_names) or loss is both
        assert set(result.logs(weight)) == set(loss.statistic_names)
        value = numpy(loss(LABELS, tensor(EMBEDDINGS, "float32"), weight))
        assert numpy(result.reduced(weight)) == value
        assert numpy(result.values).shape == (12,)


def test_a_plain_model_leaves_nothing_on_the_loss():
    loss = keras_epos.EasyPositiveTripletLoss()
    before = dict(vars(loss))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", loss=loss)
    model.fit(EMBEDDINGS, LABELS, batch_size=12, epochs=2, verbose=0)
    assert vars(loss) == before


def test_an_embedding_model_leaves_nothing_on_the_loss_and_logs_all():
    loss = losses.WeightedSum({"pairs": losses.TripletLoss(), "norm": losses.NormPenalty()})
    before = dict(vars(loss))
    model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]), 4)
    model.compile("sgd", loss=loss)
    logs = model.fit(EMBEDDINGS, LABELS, batch_size=12, verbose=0, validation_data=(EMBEDDINGS, LABELS)).history
    assert vars(loss) == before
    assert {"pairs", "norm", "valid_anchors", "val_pairs"} <= set(logs)


def test_models_hear_of_the_losses_that_they_called():
    outer, inner = losses.TripletLoss(), losses.NTXentLoss()
    with recording(training=True):
        outer(LABELS, EMBEDDINGS)
        with recording(training=False) as here:
            inner(LABELS, EMBEDDINGS)
            assert list(here.results) == [id(inner)]
            assert numpy(recorded(inner).statistics["valid_anchors"]) == 1
        assert numpy(recorded(outer).statistics["valid_anchors"]) == 1
    assert "training" in inspect.signature(EmbeddingLoss.result).parameters
