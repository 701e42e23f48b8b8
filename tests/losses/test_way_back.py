"""The way back is the short one: no product and no scattering that the values do not need."""

from collections import Counter

import numpy as np
import pytest
from keras import ops
from loss_cases import numpy, tensor, value_and_gradients

import keras_epos
from keras_epos._pairs import products_of_all

RANDOM = np.random.default_rng(0)


def operations(loss):
    """How many operations of each type are in the graph of a loss and its gradient."""
    import tensorflow as tf

    def both(labels, embeddings):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            value = loss(labels, embeddings)
        return value, tape.gradient(value, embeddings)

    signature = tf.TensorSpec([16], "int64"), tf.TensorSpec([16, 4], "float32")
    graph = tf.function(both, autograph=False).get_concrete_function(*signature).graph
    return Counter(operation.type for operation in graph.get_operations())


@pytest.mark.backend("tensorflow", reason="counts TensorFlow's operations")
def test_all_pairs_take_one_product_each_way():
    for loss in (keras_epos.MultiSimilarityLoss(), keras_epos.NTXentLoss(positives="easy")):
        assert operations(loss)["MatMul"] == 2
    assert operations(keras_epos.EasyPositiveTripletLoss())["MatMul"] == 1


@pytest.mark.backend("tensorflow", reason="counts TensorFlow's operations")
def test_a_negative_for_each_of_all_positives_is_not_scattered_by_the_square():
    found = operations(keras_epos.TripletLoss())
    assert found["MatMul"] == 2
    # By pairs that stand in the graph once, and not by all entries of a matrix.
    assert not {"UnsortedSegmentSum", "ScatterNd", "TensorScatterAdd"} & set(found)


def test_the_gradient_of_all_products():
    rows, weights = RANDOM.normal(size=(7, 3)), RANDOM.normal(size=(7, 7))
    value, slope = value_and_gradients(lambda x: ops.sum(products_of_all(x) * tensor(weights)), tensor(rows))
    np.testing.assert_allclose(value, np.sum(weights * (rows @ rows.T)), rtol=1e-12)
    np.testing.assert_allclose(numpy(slope), (weights + weights.T) @ rows, rtol=1e-12)


@pytest.mark.backend("jax", reason="the others have no forward mode in common use")
def test_forward_mode_and_hessians_pass_through():
    import jax

    rows, labels = tensor(RANDOM.normal(size=(8, 3))), np.arange(8) // 4
    for loss in (keras_epos.MultiSimilarityLoss(dtype="float64"), keras_epos.TripletLoss(dtype="float64")):
        _, along = jax.jvp(lambda x, loss=loss: loss(labels, x), (rows,), (rows[::-1],))
        slope = jax.grad(lambda x, loss=loss: loss(labels, x))(rows)
        np.testing.assert_allclose(along, np.sum(np.asarray(slope) * np.asarray(rows[::-1])), rtol=1e-9)
