"""A loss on prefixes: the sum of the loss on each, with the same prefix of all that it keeps."""

import json

import keras
import numpy as np
import pytest
from loss_cases import batch, numpy, tensor, value_and_gradient

import keras_epos
from keras_epos import losses
from keras_epos.losses import CrossBatchMemory, InfoNCELoss, Matryoshka, NTXentLoss

LABELS, EMBEDDINGS = batch(dim=6)
IDS = np.stack([LABELS, np.arange(12)], axis=1)


@pytest.mark.parametrize(
    "loss",
    [
        losses.TripletLoss(positives="easy", dtype="float64"),
        losses.SNRContrastiveLoss(dtype="float64"),
        losses.NPairsLoss(average_over="active", dtype="float64"),
        InfoNCELoss(0.2, dtype="float64"),
    ],
)
def test_value_and_gradient_are_the_sum_over_prefixes(loss):
    towers = np.split(np.concatenate([EMBEDDINGS, EMBEDDINGS[::-1]], axis=1), 2, axis=1)[: loss.num_towers]
    rows, expected, slopes = np.concatenate(towers, axis=1), 0, np.zeros((loss.num_towers, 12, 6))
    for dim in (2, 3, 6):
        prefix = np.concatenate([tower[:, :dim] for tower in towers], axis=1)
        value, slope = value_and_gradient(loss, LABELS, tensor(prefix))
        expected += value
        slopes[:, :, :dim] += np.split(numpy(slope), loss.num_towers, axis=1)
    value, slope = value_and_gradient(Matryoshka(loss, (3, 2)), LABELS, tensor(rows))
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(numpy(slope), np.concatenate(slopes, axis=1), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", [losses.CosFaceLoss, losses.SoftTripleLoss, losses.ProxyAnchorLoss])
def test_proxies_are_cut_like_embeddings(kind):
    loss = kind(4, dtype="float64")
    made = Matryoshka(loss, (2, 4))
    made.adopt(6)
    expected = 0
    for dim in (2, 4, 6):
        short = kind(4, dtype="float64")
        short.adopt(dim)
        short.proxies.assign(numpy(loss.proxies)[:, :dim])
        expected += numpy(short(LABELS, EMBEDDINGS[:, :dim]))
    np.testing.assert_allclose(numpy(made(LABELS, EMBEDDINGS)), expected, rtol=1e-12)


def test_a_memory_is_cut_like_embeddings_and_filled_once():
    def memory():
        return CrossBatchMemory(NTXentLoss(0.2, dtype="float64"), 16)

    made, alone = Matryoshka(memory(), (2,)), [memory(), memory()]
    made.adopt(6)
    for loss, dim in zip(alone, (2, 6), strict=True):
        loss.adopt(dim)
    for step in range(3):
        rows = np.roll(EMBEDDINGS, step, axis=0) + 0.1 * step
        ids = IDS + np.array([0, 12 * step])
        expected = sum(numpy(loss(ids, rows[:, :dim])) for loss, dim in zip(alone, (2, 6), strict=True))
        np.testing.assert_allclose(numpy(made(ids, rows)), expected, rtol=1e-12)
    np.testing.assert_array_equal(numpy(made.loss._embeddings), numpy(alone[1]._embeddings))


def test_reductions_and_configuration():
    weight = np.linspace(0, 1, 12)
    for reduction in ("sum", None, "mean_with_sample_weight"):
        loss = NTXentLoss(0.2, reduction=reduction, ignore_label=2, dtype="float64")
        made = Matryoshka(loss, (2,), name="nested")
        expected = numpy(loss(LABELS, EMBEDDINGS, weight)) + numpy(loss(LABELS, EMBEDDINGS[:, :2], weight))
        np.testing.assert_allclose(numpy(made(LABELS, EMBEDDINGS, weight)), expected, rtol=1e-12)
        again = keras.losses.deserialize(json.loads(json.dumps(keras.losses.serialize(made))))
        assert again.get_config() == made.get_config()
        assert again.name == "nested"
        np.testing.assert_array_equal(numpy(again(LABELS, EMBEDDINGS)), numpy(made(LABELS, EMBEDDINGS)))
    assert loss.prefix_dim is None
    rows = EMBEDDINGS.copy()
    rows[0, 5] = np.nan
    assert np.isnan(numpy(Matryoshka(losses.TripletLoss(), (2,))(LABELS, rows)))


@pytest.mark.parametrize(
    ("loss", "dims", "message"),
    [
        ("triplet", (), "`dims` must be a tuple"),
        ("triplet", 2, "`dims` must be a tuple"),
        ("triplet", (1, 3), "`dims` must be an integer of at least 2"),
        (losses.AdaFaceLoss(3), (2,), "`loss` must not look at the length"),
        (losses.MagFaceLoss(3), (2,), "`loss` must not look at the length"),
        (losses.WeightedSum({"one": "triplet"}), (2,), "`loss` must be one loss .* WeightedSum"),
        (keras.losses.MeanSquaredError(), (2,), "`loss` must be one loss"),
    ],
)
def test_what_is_refused(loss, dims, message):
    with pytest.raises(ValueError, match=message):
        Matryoshka(loss, dims)


def test_a_prefix_must_be_shorter_than_the_embedding():
    with pytest.raises(ValueError, match=r"`dims` must be less than the 6 dimensions .*\[2, 6\]"):
        Matryoshka("triplet", (2, 6))(LABELS, EMBEDDINGS)
    with pytest.raises(ValueError, match="`dims` must be less than the 3 dimensions"):
        Matryoshka(InfoNCELoss(), (3,))(LABELS, EMBEDDINGS)


@pytest.mark.filterwarnings("ignore")
def test_a_model_learns_in_its_first_dimensions(tmp_path):
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    labels = np.arange(240) % 6
    inputs = random.standard_normal((6, 12))[labels] + 0.7 * random.standard_normal((240, 12))
    found = {}
    for name in ("plain", "nested"):
        loss = losses.CosFaceLoss(6, scale=16.0)
        model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((12,)), keras.layers.Dense(32)]), 16)
        model.compile(keras.optimizers.Adam(0.01), loss=loss if name == "plain" else Matryoshka(loss, (2, 4)))
        history = model.fit(inputs, labels, epochs=12, batch_size=60, verbose=0).history
        found[name] = keras_epos.retrieval.recall_by_dim(model.predict(inputs, verbose=0), labels, (2, 4, 16))
    assert set(history) == {"loss", "valid_anchors", "dim_2", "dim_4", "whole"}
    assert history["loss"][0] == pytest.approx(sum(history[key][0] for key in ("dim_2", "dim_4", "whole")), rel=1e-5)
    assert found["nested"][4] > found["plain"][4] + 0.03
    assert found["nested"][16] > found["plain"][16] - 0.05
    model.save(tmp_path / "model.keras")
    outputs = model.predict(inputs, verbose=0)
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(numpy(again.loss(labels, outputs)), numpy(model.loss(labels, outputs)), rtol=1e-6)
