"""The way back is the short one: no product and no scattering that the values do not need."""

from collections import Counter

import numpy as np
import pytest
from keras import ops
from loss_cases import numpy, tensor, value_and_gradients

import keras_epos
from keras_epos import _all_products
from keras_epos._all_products import products_of_all

RANDOM = np.random.default_rng(0)


def operations(loss, dim=8):
    """How many operations of each type are in the graph of a loss and its gradient."""
    import tensorflow as tf

    def both(labels, embeddings):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            value = loss(labels, embeddings)
        return value, tape.gradient(value, embeddings)

    signature = tf.TensorSpec([16], "int64"), tf.TensorSpec([16, dim], "float32")
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


@pytest.mark.parametrize("counts", [True, False])
def test_a_formula_of_ones_own_sees_each_positive_and_its_negative(counts):
    class Gap(keras_epos.PairLoss):
        has_triplets = True

        def formula(self, positives, negatives, batch):
            both = ops.logical_and(positives.mask, negatives.mask)[:, 0]
            value = ops.where(both, ops.square(negatives.similarity - positives.similarity)[:, 0], 0)
            number = ops.cast(both, value.dtype)
            return keras_epos.losses.Terms(value, valid=number if counts else None, active=number)

    rows = RANDOM.normal(size=(9, 3))
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 2, 3])
    loss = Gap(negatives="semi_hard", dtype="float64")
    value, slope = value_and_gradients(lambda x: loss(labels, x), tensor(rows))
    directions = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosine = directions @ directions.T
    total, terms, anchors, far = 0.0, 0, set(), []
    for anchor in range(9):
        negatives = np.flatnonzero(labels != labels[anchor])
        for positive in np.flatnonzero(labels == labels[anchor]):
            if positive != anchor:
                farther = [n for n in negatives if cosine[anchor, n] < cosine[anchor, positive]]
                chosen = (
                    max(farther, key=lambda n: cosine[anchor, n])
                    if farther
                    else min(negatives, key=lambda n: cosine[anchor, n])
                )
                total += (cosine[anchor, chosen] - cosine[anchor, positive]) ** 2
                terms += 1
                far.append(cosine[anchor, chosen])
                anchors.add(anchor)
    np.testing.assert_allclose(value, total / (terms if counts else len(anchors)), rtol=1e-12)
    active = Gap(negatives="semi_hard", average_over="active", dtype="float64")
    np.testing.assert_allclose(float(active(labels, tensor(rows))), total / terms, rtol=1e-12)
    statistics = loss.result(labels, tensor(rows)).statistics
    np.testing.assert_allclose(float(statistics["negative_similarity"]), np.mean(far), rtol=1e-12)
    step = np.zeros_like(rows)
    for place in np.ndindex(*rows.shape):
        moved = np.zeros_like(rows)
        moved[place] = 1e-6
        step[place] = (float(loss(labels, tensor(rows + moved))) - float(loss(labels, tensor(rows - moved)))) / 2e-6
    np.testing.assert_allclose(numpy(slope), step, atol=1e-8)


@pytest.mark.parametrize("dim", [3, 130])
def test_the_gradient_of_all_products(dim):
    rows, weights = RANDOM.normal(size=(7, dim)), RANDOM.normal(size=(7, 7))
    value, slope = value_and_gradients(lambda x: ops.sum(products_of_all(x) * tensor(weights)), tensor(rows))
    np.testing.assert_allclose(value, np.sum(weights * (rows @ rows.T)), rtol=1e-12)
    np.testing.assert_allclose(numpy(slope), (weights + weights.T) @ rows, rtol=1e-12)


@pytest.mark.backend("tensorflow", reason="what JAX differentiates by itself, PyTorch does not compile")
def test_the_gradient_of_all_products_in_strips(monkeypatch):
    import tensorflow as tf

    strips = []

    def recorded(matrix, rows, go=_all_products._both_ways_in_strips):
        strips.append(rows.shape)
        return go(matrix, rows)

    monkeypatch.setattr(_all_products, "_both_ways_in_strips", recorded)
    monkeypatch.setattr(_all_products, "STRIP", 5)
    for size in (5, 7, 10, 12):
        monkeypatch.setattr(_all_products, "MANY", size)
        rows, weights = RANDOM.normal(size=(size, 3)), RANDOM.normal(size=(size, size))
        for jit_compile in (True, False):
            del strips[:]

            @tf.function(jit_compile=jit_compile)
            def both(rows, weights):
                with tf.GradientTape() as tape:
                    tape.watch(rows)
                    value = tf.reduce_sum(products_of_all(rows) * weights)
                return value, tape.gradient(value, rows)

            value, slope = both(tensor(rows), tensor(weights))
            np.testing.assert_allclose(value, np.sum(weights * (rows @ rows.T)), rtol=1e-12)
            np.testing.assert_allclose(slope, (weights + weights.T) @ rows, rtol=1e-12, atol=1e-12)
            assert strips == ([(size, 3)] if jit_compile else [])
        monkeypatch.setattr(_all_products, "MANY", size + 1)
        tf.function(lambda rows: tf.gradients(products_of_all(rows), rows), jit_compile=True)(tensor(rows))
        assert not strips


@pytest.mark.backend("jax", reason="the others have no forward mode in common use")
def test_forward_mode_and_hessians_pass_through():
    import jax

    rows, labels = tensor(RANDOM.normal(size=(8, 3))), np.arange(8) // 4
    for loss in (keras_epos.MultiSimilarityLoss(dtype="float64"), keras_epos.TripletLoss(dtype="float64")):
        _, along = jax.jvp(lambda x, loss=loss: loss(labels, x), (rows,), (rows[::-1],))
        slope = jax.grad(lambda x, loss=loss: loss(labels, x))(rows)
        np.testing.assert_allclose(along, np.sum(np.asarray(slope) * np.asarray(rows[::-1])), rtol=1e-9)
