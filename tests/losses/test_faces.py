"""Face losses: averages of lengths, drawn margins, and the numbers of the authors' code."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import test_proxy_common
from loss_cases import numpy, tensor
from proxy_cases import batch, make, value_and_gradients

import keras_epos
from keras_epos import reference
from keras_epos.losses import AdaFaceLoss, ElasticArcFaceLoss, ElasticCosFaceLoss, MagFaceLoss
from keras_epos.losses._lengths import lengths

GOLDEN = Path(__file__).parent / "golden"
PML, AUTHORS = (json.loads((GOLDEN / name).read_text()) for name in ("pml.json", "authors.json"))
OURS = {
    "AdaFace": AdaFaceLoss(7, scale=8.0, momentum=0.0, dtype="float64"),
    "MagFace": MagFaceLoss(7, (0.3, 0.9), 8.0, (0.8, 4.0), 2.0, dtype="float64"),
    "ElasticArcFace": ElasticArcFaceLoss(7, 0.4, 0.0, 8.0, dtype="float64"),
    "ElasticCosFace": ElasticCosFaceLoss(7, 0.4, 0.0, 8.0, dtype="float64"),
}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("data", ["random", "raw"])
def test_the_code_of_the_authors(name, data):
    labels, rows = (np.array(PML["batches"][data][key]) for key in ("labels", "embeddings"))
    (proxies,) = (
        np.array(entry["batches"][data]["weights"])
        for key, entry in PML["entries"].items()
        if key == "Proxy-NCA" and data in entry["batches"]
    )
    loss = type(OURS[name])(**OURS[name].get_config())
    loss.adopt(rows.shape[1])
    loss.proxies.assign(proxies)
    value, gradient, _ = value_and_gradients(loss, labels, tensor(rows))
    found = AUTHORS["entries"][name]["batches"][data]
    np.testing.assert_allclose(value, found["value"], rtol=1e-10)
    np.testing.assert_allclose(numpy(gradient), found["gradient"], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("case", ["AdaFace", "MagFace", "ElasticArcFace", "ElasticCosFace"])
def test_degenerate_batches_stay_finite(case):
    for degenerate in test_proxy_common.DEGENERATE:
        test_proxy_common.check_degenerate(case, degenerate, "float32")


def test_lengths_of_any_size():
    rows = np.array([[3e30, 4e30], [3e-30, 4e-30], [0.0, 0.0]], "float32")
    np.testing.assert_allclose(numpy(lengths(tensor(rows, "float32")))[:, 0], [5e30, 5e-30, 0], rtol=1e-6)


def ada_face(**settings):
    labels, embeddings, proxies = batch()
    return labels, 20 * embeddings, make("AdaFace", proxies(1), momentum=0.9, **settings)


def averages(loss):
    return [float(numpy(weight)) for weight in loss._layer.non_trainable_weights]


def test_averages_of_lengths_move_in_training_alone():
    labels, rows, loss = ada_face(ignore_label=1)
    known = np.linalg.norm(rows[labels != 1], axis=1).clip(0, 100)
    expected = [0.9 * 20 + 0.1 * known.mean(), 0.9 * 100 + 0.1 * known.std(ddof=1)]
    for training, after in ((False, [20, 100]), (True, expected)):
        result = loss.result(labels, rows, training)
        np.testing.assert_allclose(averages(loss), after, rtol=1e-6)
    values = reference.ada_face(
        labels, rows, numpy(loss.proxies), 0.4, 8.0, 0.7, 0.9, 20.0, 100.0, ignore_label=1
    ).total
    np.testing.assert_allclose(numpy(result.values) * (labels != 1).mean(), values * (labels != 1).mean(), rtol=1e-6)
    loss.proxy_weights(labels, rows)
    np.testing.assert_allclose(averages(loss), expected, rtol=1e-6)


def test_what_has_no_length_does_not_move_the_averages():
    labels, rows, loss = ada_face()
    for wrong in (np.zeros_like(rows), np.full_like(rows, np.nan), rows[:1], rows[:0]):
        loss(labels[: len(wrong)], wrong)
        assert averages(loss) == [20, 100]
    rows[:10] = np.nan
    assert np.isnan(numpy(loss(labels, rows)))
    assert np.isfinite(averages(loss)).all()


def test_longer_embeddings_are_asked_for_more():
    _, _, proxies = batch()
    rows = reference.unit(proxies(1))[:2] + 0.3
    for case in ("MagFace", "AdaFace"):
        loss = make(case, proxies(1), reduction=None, **({"length_weight": 0.0} if case == "MagFace" else {}))
        short = numpy(loss(np.arange(2), rows * [[1.0], [3.0]]))
        long = numpy(loss(np.arange(2), rows * [[3.0], [1.0]]))
        assert long[0] > short[0]
        assert short[1] > long[1]


@pytest.mark.parametrize(
    ("kind", "oracle"), [(ElasticArcFaceLoss, reference.arc_face), (ElasticCosFaceLoss, reference.cos_face)]
)
def test_each_sample_has_a_margin_of_its_own_in_training(kind, oracle):
    labels, embeddings, proxies = batch()
    loss = kind(5, margin=0.4, std=0.1, scale=8.0, seed=3, reduction=None, dtype="float64")
    loss.adopt(4)
    loss.proxies.assign(proxies(1))
    drawn = 0.4 + 0.1 * numpy(keras.random.normal((12, 1), dtype="float64", seed=keras.random.SeedGenerator(3)))[:, 0]
    found = numpy(loss(labels, embeddings))
    for i, margin in enumerate(drawn):
        expected = oracle(labels[i : i + 1], embeddings[i : i + 1], proxies(1), margin, 8.0).total
        np.testing.assert_allclose(found[i : i + 1], expected, rtol=1e-9)
    assert len(np.unique(drawn)) == 12
    assert not np.array_equal(numpy(loss(labels, embeddings)), found)
    for _ in range(2):
        still = numpy(loss.result(labels, embeddings, training=False).values)
        np.testing.assert_allclose(still, oracle(labels, embeddings, proxies(1), 0.4, 8.0).total, rtol=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_averages_and_draws_are_saved_with_a_model(tmp_path):
    random = np.random.default_rng(0)
    labels = np.arange(64) % 4
    inputs = random.standard_normal((4, 6))[labels] + 0.3 * random.standard_normal((64, 6))
    for loss in (AdaFaceLoss(4, scale=8.0), ElasticArcFaceLoss(4, scale=8.0)):
        keras.utils.set_random_seed(0)
        backbone = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8)])
        model = keras_epos.EmbeddingModel(backbone, 8, normalize=isinstance(loss, ElasticArcFaceLoss))
        model.compile(keras.optimizers.Adam(0.01), loss=loss)
        history = model.fit(inputs, labels, batch_size=32, epochs=2, verbose=0).history["loss"]
        assert history[-1] < history[0]
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        if isinstance(loss, AdaFaceLoss):
            assert averages(again.loss) == averages(loss) != [20, 100]
        else:
            np.testing.assert_array_equal(numpy(again.loss.generator.state), numpy(loss.generator.state))
            assert numpy(loss.generator.state)[1] > 0
