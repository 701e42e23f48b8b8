"""A batch, the products that no loss over pairs can do without, and how a loss is run with its gradient.

Nothing of keras_epos: `old_peers.py` uses it in an environment that has none.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

# It warns of functions traced anew, as each contestant is.
tf.get_logger().setLevel("ERROR")


def batch(size, dim, per_class):
    """Unit rows in wide clusters, as of a network that has learned something but not all: `(labels, embeddings)`."""
    generator = np.random.default_rng(0)
    labels = np.arange(size) // per_class
    centers = generator.normal(size=(labels[-1] + 1, dim))
    rows = centers[labels] + 2 * generator.normal(size=(size, dim))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return tf.constant(labels), tf.constant(rows.astype("float32"))


# Of more rows than these, a product has more than 1 GB; it is made of so many rows at a time then.
WHOLE, STRIP = 16384, 4096


def floor(embeddings):
    """All products, and one of them read."""
    size = len(embeddings)
    for start in range(0, size, size if size <= WHOLE else STRIP):
        some = embeddings if size <= WHOLE else embeddings[start : start + STRIP]
        last = tf.matmul(some, embeddings, transpose_b=True)
    return last.numpy()[0, 0]


@tf.function
def _both_ways(embeddings):
    similarity = tf.matmul(embeddings, embeddings, transpose_b=True)
    return tf.matmul(similarity, embeddings)


def both_ways(embeddings):
    return _both_ways(embeddings).numpy()[0, 0]


def with_gradient(loss, jit_compile, labels, embeddings, steps=1):
    """What runs `loss` with its gradient `steps` times, and reads the last."""

    @tf.function(jit_compile=jit_compile)
    def value_and_gradient(labels, embeddings):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            value = loss(labels, embeddings)
        return value, tape.gradient(value, embeddings)

    def run():
        for _ in range(steps):
            value, gradient = value_and_gradient(labels, embeddings)
        return gradient.numpy()[0, 0] + value.numpy()

    return run
