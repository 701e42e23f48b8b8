"""Batches through grain: the stream of the other engines, whoever reads it and from wherever."""

import math
import sys

import keras
import numpy as np
import pytest

from keras_epos.data import AnchorNeighborIndices, BatchIndices, balanced_batches, batches

grain = pytest.importorskip("grain")
cloudpickle = pytest.importorskip("cloudpickle")

LABELS = np.tile(np.arange(12), 9)
INPUTS = np.arange(len(LABELS), dtype="float32")


def taken(dataset, number):
    iterator = iter(dataset)
    found = [tuple(np.asarray(part) for part in next(iterator)) for _ in range(number)]
    if hasattr(iterator, "close"):
        iterator.close()
    return found


def alike(found, expected):
    assert len(found) == len(expected)
    for one, two in zip(found, expected, strict=True):
        for a, b in zip(one, two, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def load(element, seed):
    """The input and the seed, by what every backend has."""
    return keras.ops.stack([keras.ops.cast(part, "float32") for part in (element, seed[0] % 4096, seed[1] % 4096)])


@pytest.mark.parametrize(
    "options",
    [{}, {"load": load}, {"with_ids": True, "start_step": 5}, {"load": load, "num_shards": 3, "shard_index": 1}],
    ids=["plain", "loaded", "with ids", "sharded"],
)
def test_is_what_the_backend_gives(options):
    expected = taken(balanced_batches(INPUTS, LABELS, 4, 3, seed=7, steps=8, **options), 8)
    dataset = balanced_batches(INPUTS, LABELS, 4, 3, seed=7, engine="grain", **options)
    assert isinstance(dataset, grain.IterDataset)
    alike(taken(dataset, 8), expected)
    steps = dataset.parents[0]
    alike([steps[6]], expected[6:7])


@pytest.mark.parametrize("make", [BatchIndices, AnchorNeighborIndices])
def test_workers_share_the_stream(make):
    """As `mp_prefetch` does: each process has a copy of the data set and takes every second step."""
    indices = make(LABELS, 4, samples_per_class=3) if make is BatchIndices else make(LABELS, 2, 2, 3)
    dataset = batches(INPUTS, indices, load=load, engine="grain")
    expected = taken(dataset, 6)
    steps = cloudpickle.loads(cloudpickle.dumps(dataset)).parents[0]
    assert len(steps) == np.iinfo(np.int64).max
    for worker in (0, 1):
        alike(taken(steps[worker::2], 3), expected[worker::2])


def test_a_state_goes_on_exactly():
    dataset = balanced_batches(INPUTS, LABELS, 4, 3, engine="grain")
    expected = taken(dataset, 9)
    iterator = iter(dataset)
    for _ in range(4):
        next(iterator)
    again = iter(balanced_batches(INPUTS, LABELS, 4, 3, engine="grain"))
    again.set_state(iterator.get_state())
    alike([next(again) for _ in range(5)], expected[4:])
    iterator.close()
    again.close()


def test_fit_goes_on_from_epoch_to_epoch():
    seen = []

    class Seen(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(logs["loss"])

    # The loss of an epoch is the mean of its inputs; the model has one weight that does not learn.
    model = keras.Sequential([keras.Input((1,)), keras.layers.Identity()])
    model.compile(loss=lambda y_true, y_pred: keras.ops.mean(y_pred, axis=-1))
    dataset = balanced_batches(INPUTS[:, None], LABELS, 4, 3, engine="grain")
    model.fit(dataset, steps_per_epoch=2, epochs=3, callbacks=[Seen()], verbose=0, shuffle=False)
    expected = BatchIndices(LABELS, 4, 3)(np.arange(6)).reshape(3, -1).mean(axis=1)
    np.testing.assert_allclose(seen, expected, rtol=1e-6)
    assert len(set(seen)) == 3


def test_validation_has_an_end_and_stays_the_same():
    dataset = balanced_batches(INPUTS, LABELS, 4, 3, engine="grain", same_every_pass=True, start_step=2)
    first = list(dataset)
    assert len(first) == 9
    alike(list(dataset), first)
    alike(first[:1], taken(balanced_batches(INPUTS, LABELS, 4, 3, engine="grain"), 3)[2:])


def test_what_would_repeat_the_same_batches_is_refused():
    with pytest.raises(ValueError, match=r"`steps` must be left out with `engine=\"grain\"`.*Received: steps=5"):
        balanced_batches(INPUTS, LABELS, 4, 3, engine="grain", steps=5)
    balanced_batches(INPUTS, LABELS, 4, 3, engine="grain", steps=math.inf)
    with pytest.raises(ValueError, match="`engine` must be one of"):
        balanced_batches(INPUTS, LABELS, 4, 3, engine="tf.data")


def test_an_input_that_fails_is_named_or_replaced():
    def fails(element):
        if element == 30:
            raise OSError("unplugged")
        return np.float32(element)

    with pytest.raises(ValueError, match="input number 30, which gives OSError: unplugged"):
        taken(balanced_batches(INPUTS, LABELS, 12, 3, load=fails, engine="grain"), 3)
    # One that comes late, so that it must be replaced in its own step.
    seed = next(seed for seed in range(20) if 30 in BatchIndices(LABELS, 12, 3, seed=seed)(2))
    dataset = balanced_batches(INPUTS, LABELS, 12, 3, load=fails, engine="grain", on_error="skip", seed=seed)
    dataset = cloudpickle.loads(cloudpickle.dumps(dataset))
    with pytest.warns(UserWarning, match="Skipped: input number 30"):
        found = taken(dataset, 3)
    assert 30 not in np.concatenate([x for x, _ in found])
    np.testing.assert_array_equal(np.bincount(np.concatenate([y for _, y in found])), np.full(12, 9))


def test_what_must_be_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(ImportError, match=r"pip install keras-epos\[grain\]"):
        balanced_batches(INPUTS, LABELS, 4, 3, engine="grain")
