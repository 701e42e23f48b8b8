"""Center loss: value, gradient and the way of the centers against loops, and training with it."""

import json

import keras
import numpy as np
import pytest
from loss_cases import ON_JAX, batch, numpy, tensor, value_and_gradient

import keras_epos
from keras_epos import reference
from keras_epos.losses import CenterLoss, Matryoshka, TripletLoss, WeightedSum

NUM_CLASSES, DIM = 6, 5  # Classes 4 and 5 are absent from the batches.
CENTERS = np.random.default_rng(1).standard_normal((NUM_CLASSES, DIM))


def made(centers=CENTERS, dtype="float64", **settings):
    loss = CenterLoss(len(centers), dtype=dtype, **settings)
    loss.adopt(centers.shape[1])
    loss.centers.assign(centers)
    return loss


@pytest.mark.parametrize("ignore_label", [None, 1, -7])
def test_value_gradient_and_centers_equal_the_oracle(ignore_label):
    labels, rows = batch()
    labels[3] = -7 if ignore_label == -7 else labels[3]
    values, gradient = reference.center(labels, rows, CENTERS, ignore_label)
    kept = labels != ignore_label
    loss = made(ignore_label=ignore_label, rate=0.3)
    value, slope = value_and_gradient(loss, labels, tensor(rows))
    np.testing.assert_allclose(value, values.sum() / kept.sum(), rtol=1e-12)
    np.testing.assert_allclose(numpy(slope), gradient, rtol=1e-12, atol=1e-14)
    differences = reference.numerical_gradient(
        lambda at: reference.center(labels, at, CENTERS, ignore_label)[0].sum() / kept.sum(), rows
    )
    np.testing.assert_allclose(numpy(slope), differences, rtol=1e-6, atol=1e-8)
    loss = made(ignore_label=ignore_label, rate=0.3)
    loss(labels, rows)
    expected = reference.moved_centers(labels, rows, CENTERS, 0.3, ignore_label)
    np.testing.assert_allclose(numpy(loss.centers), expected, rtol=1e-12)
    assert (expected[4:] == CENTERS[4:]).all()
    assert (expected[0] != CENTERS[0]).all()


def test_a_vector_worked_by_hand():
    loss = made(np.array([[1.0, 0.0], [0.0, 2.0]]), rate=0.5, reduction=None)
    rows = np.array([[1.0, 1.0], [3.0, 0.0], [0.0, 2.0]])
    result = loss.result(np.array([0, 0, 1]), tensor(rows))
    np.testing.assert_allclose(numpy(result.values), [0.5, 2.0, 0.0])
    # (0, -1) + (-2, 0), halved, by 1 + 2 samples; the other class is in its place.
    np.testing.assert_allclose(numpy(loss.centers), [[1 + 1 / 3, 1 / 6], [0, 2]])
    assert {name: float(numpy(value)) for name, value in result.statistics.items()} == pytest.approx(
        {"valid_anchors": 1.0, "center_distance": 1.0}
    )


def test_centers_stand_still_outside_training_and_where_nothing_counts():
    labels, rows = batch()
    loss = made(ignore_label=0)
    loss.result(labels, tensor(rows), training=False)
    for wrong in (rows[:0], np.full_like(rows, np.nan)):
        value = numpy(loss(labels[: len(wrong)], tensor(wrong)))
        assert value == 0 if not len(wrong) else np.isnan(value)
    assert numpy(loss(np.zeros(12, int), tensor(rows))) == 0
    np.testing.assert_array_equal(numpy(loss.centers), CENTERS)
    rows[2] = np.inf
    assert np.isnan(numpy(loss(labels, tensor(rows))))
    assert np.isfinite(numpy(loss.centers)).all()


def test_at_the_center_nothing_is_pulled():
    labels = np.arange(4)
    value, slope = value_and_gradient(made(average_over="active"), labels, tensor(CENTERS[:4]))
    assert value == 0
    assert not numpy(slope).any()
    rows = np.concatenate([CENTERS[:2], CENTERS[:2] + 1])
    assert numpy(made(average_over="active")(np.array([0, 1, 0, 1]), tensor(rows))) == pytest.approx(DIM / 2)


@pytest.mark.backend("tensorflow", "jax", reason="PyTorch runs eagerly")
def test_compiled_equals_eager_and_labels_out_of_range_move_nothing():
    labels, rows = batch()
    rows = rows.astype("float32")
    loss, eager = made(dtype="float32"), made(dtype="float32")
    wrong = np.where(labels == 0, NUM_CLASSES, labels)
    if ON_JAX:
        import jax

        def run(centers, labels, rows):
            with keras.StatelessScope(state_mapping=[(loss.centers, centers)]) as scope:
                value = loss(labels, rows)
            return value, scope.get_current_value(loss.centers)

        run = jax.jit(run)
        value, centers = run(CENTERS.astype("float32"), labels, rows)
        bad, unmoved = run(CENTERS.astype("float32"), wrong, rows)
    else:
        import tensorflow as tf

        run = tf.function(lambda labels, rows: loss(labels, rows), jit_compile=True)
        value, centers = run(labels, rows), numpy(loss.centers)
        loss.centers.assign(CENTERS)
        bad, unmoved = run(wrong, rows), loss.centers
    np.testing.assert_allclose(numpy(value), numpy(eager(labels, rows)), rtol=1e-6)
    np.testing.assert_allclose(numpy(centers), numpy(eager.centers), rtol=1e-5)
    assert np.isnan(numpy(bad))
    np.testing.assert_array_equal(numpy(unmoved)[0], CENTERS[0].astype("float32"))


def test_a_model_keeps_the_centers_and_moves_them(tmp_path):
    labels, rows = batch()
    keras.utils.set_random_seed(0)
    model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((DIM,)), keras.layers.Identity()]), 4)
    centers = CenterLoss(NUM_CLASSES)
    model.compile(
        keras.optimizers.SGD(0.0), loss=WeightedSum({"triplets": TripletLoss(), "centers": centers}, {"centers": 1e-3})
    )
    before = numpy(centers.centers).copy()
    logs = model.fit(rows, labels, batch_size=12, epochs=2, verbose=0, shuffle=False).history
    found = model.predict(rows, verbose=0)
    expected = before
    for _ in range(2):
        expected = reference.moved_centers(labels, found, expected)
    np.testing.assert_allclose(numpy(centers.centers), expected, rtol=1e-4, atol=1e-6)
    assert logs["centers"][0] == pytest.approx(reference.center(labels, found, before)[0].mean(), rel=1e-4)
    assert all(centers.centers is not weight for weight in model.trainable_weights)
    model.evaluate(rows, labels, verbose=0)
    np.testing.assert_allclose(numpy(centers.centers), expected, rtol=1e-4, atol=1e-6)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(numpy(loaded.loss.losses["centers"].centers), numpy(centers.centers))


def test_configuration_and_refusals():
    loss = CenterLoss(3, 0.1, ignore_label=-1, name="mine")
    config = json.loads(json.dumps(loss.get_config()))
    assert CenterLoss.from_config(config).get_config() == config
    assert config["rate"] == 0.1
    for settings, message in (
        ({"num_classes": 1}, "`num_classes` must be an integer of at least 2"),
        ({"num_classes": 3, "rate": 1.5}, "`rate` must be in"),
    ):
        with pytest.raises(ValueError, match=message):
            CenterLoss(**settings)
    with pytest.raises(ValueError, match="would never train"):
        loss(np.zeros(2, int), np.ones((2, 4)))
    with pytest.raises(ValueError, match="`embedding_dim` must be given"):
        CenterLoss(3).adopt()
    loss.adopt(4)
    with pytest.raises(ValueError, match=r"`y_true` must lie in .* num_classes=3 and label 3"):
        loss(np.array([0, 3]), np.ones((2, 4)))
    with pytest.raises(ValueError, match="`loss` must"):
        Matryoshka(CenterLoss(3), (2,))
