"""Margin loss with a boundary that is learned."""

import keras
import numpy as np
import pytest
from loss_cases import batch, numpy, tensor

from keras_epos import reference
from keras_epos._gradient import gradient
from keras_epos.losses import MarginLoss

LABELS, EMBEDDINGS = batch(classes=(5, 4, 3))


def learned(kind, **settings):
    loss = MarginLoss(
        0.25,
        1.1,
        learn_boundary=kind,
        num_classes=3 if kind == "class" else None,
        negatives="all",
        dtype="float64",
        **settings,
    )
    (layer, *_) = loss.adopt()
    return loss, layer.weights[0]


@pytest.mark.parametrize(("kind", "start"), [("global", [1.1]), ("class", [1.1, 1.1, 1.1])])
def test_starts_at_the_boundary_and_equals_the_fixed_loss(kind, start):
    loss, boundary = learned(kind)
    assert numpy(boundary).tolist() == pytest.approx(start)
    assert boundary.trainable
    fixed = MarginLoss(0.25, 1.1, negatives="all", dtype="float64")
    np.testing.assert_allclose(numpy(loss(LABELS, EMBEDDINGS)), numpy(fixed(LABELS, EMBEDDINGS)), rtol=1e-6)


@pytest.mark.parametrize("average_over", ["valid", "active"])
@pytest.mark.parametrize(("kind", "values"), [("global", [0.9]), ("class", [0.8, 1.0, 1.3])])
def test_gradient_of_the_boundary_equals_the_oracle(kind, values, average_over):
    loss, boundary = learned(kind, average_over=average_over)

    def of_boundary(value):
        with keras.StatelessScope(state_mapping=[(boundary, value)]):
            return loss(LABELS, tensor(EMBEDDINGS))

    def expected(values):
        each = values if kind == "class" else values[0]
        return reference.margin(LABELS, EMBEDDINGS, 0.25, each).mean(average_over)

    at = np.array(values)
    assert numpy(of_boundary(tensor(at))) == pytest.approx(expected(at), rel=1e-6)
    found = numpy(gradient(of_boundary, tensor(at)))
    np.testing.assert_allclose(found, reference.numerical_gradient(expected, at), rtol=1e-6, atol=1e-9)
    assert found.all()


def test_gradient_of_the_embeddings_with_a_boundary_for_each_class():
    loss, boundary = learned("class")
    boundary.assign([0.8, 1.0, 1.3])
    terms = reference.margin(LABELS, EMBEDDINGS, 0.25, [0.8, 1.0, 1.3])
    found = gradient(lambda rows: loss(LABELS, rows), tensor(EMBEDDINGS))
    np.testing.assert_allclose(numpy(found), reference.gradient(terms, EMBEDDINGS, "active"), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("kind", "num_classes"), [("global", None), ("class", 3)])
def test_a_plain_model_refuses_to_leave_it_untrained(kind, num_classes):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile("sgd", loss=MarginLoss(learn_boundary=kind, num_classes=num_classes))
    with pytest.raises(ValueError, match=r"has weights of its own, which a plain keras\.Model would never train"):
        model.fit(EMBEDDINGS, LABELS, verbose=0)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_label_without_a_boundary_is_refused(wrong):
    loss, _ = learned("class")
    labels = LABELS.copy()
    labels[labels == 2] = wrong
    with pytest.raises(
        ValueError, match=rf"`y_true` must lie in \[0, num_classes\).* num_classes=3 and label {wrong}\."
    ):
        loss(labels, EMBEDDINGS)


@pytest.mark.backend("tensorflow", "jax", reason="PyTorch runs eagerly")
@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_label_without_a_boundary_turns_compiled_code_to_nan(wrong):
    loss, _ = learned("class")
    labels = LABELS.copy()
    labels[labels == 2] = wrong
    if keras.backend.backend() == "jax":
        import jax

        run = jax.jit(loss)
    else:
        import tensorflow as tf

        run = tf.function(loss, jit_compile=True)
    assert np.isfinite(numpy(run(tensor(LABELS, "int32"), tensor(EMBEDDINGS))))
    assert np.isnan(numpy(run(tensor(labels, "int32"), tensor(EMBEDDINGS))))


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint8"])
@pytest.mark.parametrize("ignored", [-1, 100])
def test_an_ignored_label_needs_no_boundary(ignored, dtype):
    labels = LABELS.copy()
    loss, _ = learned("class", ignore_label=ignored)
    assert numpy(loss(labels.astype(dtype), EMBEDDINGS)) == numpy(loss(labels, EMBEDDINGS)) > 0
    if ignored >= 0 or dtype != "uint8":
        labels[3] = ignored
        value, slope = (
            loss(labels.astype(dtype), EMBEDDINGS),
            gradient(lambda rows: loss(labels, rows), tensor(EMBEDDINGS)),
        )
        assert np.isfinite(numpy(value))
        assert np.isfinite(numpy(slope)).all()
        assert not numpy(slope)[3].any()


def test_more_classes_than_the_dtype_of_the_labels_can_count():
    loss = MarginLoss(learn_boundary="class", num_classes=1000, negatives="all", dtype="float64")
    loss.adopt()
    for dtype in ("uint8", "int8", "int64"):
        assert np.isfinite(numpy(loss(LABELS.astype(dtype), EMBEDDINGS)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"margin": 0}, "`margin` must be a positive distance"),
        ({"boundary": 0}, "`boundary` must be a distance"),
        ({"boundary": 2}, "`boundary` must be a distance"),
        ({"learn_boundary": "image"}, "`learn_boundary` must be"),
        ({"learn_boundary": "class"}, "`num_classes` must be given"),
        ({"num_classes": 3}, "`num_classes` must be given"),
        ({"learn_boundary": "global", "num_classes": 3}, "`num_classes` must be given"),
    ],
)
def test_arguments_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        MarginLoss(**settings)


@pytest.mark.parametrize("kind", ["global", "class"])
def test_config_round_trip(kind):
    loss, _ = learned(kind)
    again = MarginLoss.from_config(loss.get_config())
    assert again.get_config() == loss.get_config()
    assert again.learn_boundary == kind
