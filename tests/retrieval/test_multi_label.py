"""Retrieval of images with several labels, or with any other relation of labels."""

import keras
import numpy as np
import pytest
from brute_force import ALL_KS, assert_same, brute_force, leave_one_out, random_set
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_epos import same_class
from keras_epos.retrieval import _classes as classes
from keras_epos.retrieval import evaluate

# JAX compiles each shape anew.
FEW = settings(max_examples=6 if keras.backend.backend() == "jax" else 25, deadline=None)
KINDS = ["generic", "grid", "copies", "collapsed"]


def share(labels, reference_labels):
    return np.dot(labels, reference_labels) > 0


def multi_hot_set(seed, rows, dim, num_labels, density, kind):
    """Embeddings as `random_set` makes them, and rows of zeros and ones, some of them all zeros."""
    labels = np.random.default_rng(seed).random((rows, num_labels)) < density
    return random_set(seed, rows, dim, 1, kind)[0], labels.astype(np.int64)


# Few shapes, for JAX compiles anew for each.
block_sizes = st.sampled_from([1, 7, 50])
sets = st.builds(
    multi_hot_set,
    seed=st.integers(0, 2**32 - 1),
    rows=st.sampled_from([6, 17, 40]),
    dim=st.sampled_from([1, 2, 9]),
    num_labels=st.sampled_from([1, 3, 8]),
    density=st.sampled_from([0.05, 0.2, 0.5, 1.0]),
    kind=st.sampled_from(KINDS),
)


@FEW
@given(sets, block_sizes)
def test_leave_one_out_equals_brute_force(data, block_size):
    embeddings, labels = data
    if labels.sum(axis=0).max() > 1:
        results = evaluate(embeddings, labels, k=ALL_KS, same_class="share_a_label", block_size=block_size)
        assert_same(results, leave_one_out(embeddings, labels, same=share))


@FEW
@given(sets, st.sampled_from([1, 4]), block_sizes, st.booleans())
def test_query_and_gallery_equal_brute_force(data, num_queries, block_size, with_ids):
    embeddings, labels = data
    rows = np.arange(len(labels))
    if with_ids:  # The queries stand in the gallery too, and every third row is a copy of its neighbor.
        ids = rows - (rows % 3 == 1)
        embeddings, labels = embeddings[ids], labels[ids]
        gallery = rows
    else:
        ids, gallery = rows, rows[num_queries:]
    if len(gallery) < max(ALL_KS) or not any(
        share(labels[q], labels[g]) for q in range(num_queries) for g in gallery if ids[q] != ids[g]
    ):
        return
    arguments = embeddings[:num_queries], labels[:num_queries], embeddings[gallery], labels[gallery]
    named = {"ids": ids[:num_queries], "gallery_ids": ids} if with_ids else {}
    results = evaluate(*arguments, k=ALL_KS, same_class="share_a_label", block_size=block_size, **named)
    expected = brute_force(*arguments, ALL_KS, lambda q, r: with_ids and ids[q] == ids[r], share)
    assert_same(results, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_large_galleries_take_the_short_cuts_and_stay_exact(kind, monkeypatch):
    # Few rows share a label, so references are fetched by top-k; the gallery comes in several windows and parts.
    monkeypatch.setattr(classes, "_MANY", 64)
    monkeypatch.setattr(classes, "CHUNK", 1500)
    embeddings, labels = multi_hot_set(3, 192, 16, 50, 0.015, kind)
    results = evaluate(embeddings, labels, k=ALL_KS, same_class="share_a_label", block_size=16)
    expected = leave_one_out(embeddings, labels, same=share)
    assert 0 < expected["queries_without_match"][0] < 192
    assert_same(results, expected)


def near(labels, reference_labels):
    """Less than 8 apart on a plane: neither transitive nor about equal labels."""
    return ((labels[:, None] - reference_labels[None]) ** 2).sum(axis=-1) < 64


def near_by_backend(labels, reference_labels):
    difference = ops.convert_to_tensor(labels)[:, None] - ops.convert_to_tensor(reference_labels)[None]
    return ops.sum(ops.square(difference), axis=-1) < 64


@FEW
@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS), block_sizes)
def test_a_function_of_the_labels_equals_brute_force(seed, kind, block_size):
    places = np.random.default_rng(seed).integers(0, 25, size=(30, 2)).astype(np.float32)
    embeddings = random_set(seed, 30, 5, 1, kind)[0]
    results = evaluate(embeddings, places, k=ALL_KS, same_class=near, block_size=block_size)
    assert_same(results, leave_one_out(embeddings, places, same=lambda a, b: sum((a - b) ** 2) < 64))
    # Means over blocks differ in the last bit.
    by_backend = evaluate(embeddings, places, k=ALL_KS, same_class=near_by_backend)
    assert by_backend == pytest.approx(results, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_of_saying_equal_gives_the_same(kind):
    embeddings, labels = random_set(2, 120, 6, 9, kind)
    expected = evaluate(embeddings, labels)
    one_hot = np.eye(9, dtype=bool)[labels]
    assert evaluate(embeddings, labels, same_class=same_class.equal) == expected
    for again in (
        evaluate(embeddings, one_hot, same_class="share_a_label"),
        evaluate(embeddings, ops.convert_to_tensor(one_hot.astype("float32")), same_class="share_a_label"),
        # The function sees integers `(A,)` though a column was given, and exact ones.
        evaluate(embeddings, 2**62 + labels[:, None], same_class=lambda a, b: a[:, None] == b[None, :]),
        evaluate(embeddings, labels.astype(str), same_class=lambda a, b: a[:, None] == b[None, :]),
    ):
        assert_same(again, {name: (value, value) for name, value in expected.items()})


def test_separated_and_constant_embeddings():
    labels = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0]])
    apart = evaluate(np.eye(3)[[0, 0, 0, 1, 1, 2]], labels, k=1, same_class="share_a_label")
    assert apart["queries_without_match"] == 1
    # Rows 1 and 2 share no label: at the one place each is the other's equal, and a tie counts against.
    assert apart["recall@1"] == pytest.approx(3 / 5)
    constant = evaluate(np.ones((6, 3)), labels, k=(1, 5), same_class="share_a_label")
    assert (constant["recall@1"], constant["map@r"]) == (0, 0)


GOOD = np.random.default_rng(0).normal(size=(6, 3))
ROWS = np.eye(2, dtype=int)[[0, 0, 0, 1, 1, 1]]


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((GOOD, ROWS), {"same_class": "equal"}, 'pass `same_class="share_a_label"`.*argmax'),
        ((GOOD, 2 * ROWS), {}, "`labels` must be zeros and ones"),
        ((GOOD, ROWS / 3), {}, "`labels` must be zeros and ones"),
        ((GOOD, ROWS[:, 0]), {}, r"shape \(rows, labels\).*leave `same_class` out"),
        ((GOOD, ROWS[:5]), {}, r"`labels` must have one entry for each of 6 rows. Received: labels=\(5, 2\)"),
        ((GOOD, None), {}, "`labels` must be labels, one a row"),
        ((GOOD, ROWS, GOOD, np.eye(6, 3)), {}, "`gallery_labels` must have the 2 columns of `labels`"),
        ((GOOD, np.eye(6)), {}, "`labels` must give at least one query"),
        ((GOOD, ROWS), {"ids": [0, 1, 2, 2, 3, 4]}, "`ids` must have one label each.*1 stand"),
        ((GOOD, ROWS), {"same_class": "similar"}, "`same_class` must be one of"),
        ((GOOD, ROWS), {"same_class": lambda a, b: a == b}, r"`same_class` must return booleans \(6, 6\)"),
        ((GOOD, ROWS), {"same_class": lambda a, b: True}, r"`same_class` must return booleans \(6, 6\)"),
    ],
)
def test_errors_name_the_argument(arguments, keywords, message):
    with pytest.raises(ValueError, match=message):
        evaluate(*arguments, **{"k": 1, "same_class": "share_a_label"} | keywords)
