"""Retrieval of one label an image, on random, tied and degenerate embeddings."""

import warnings

import keras
import numpy as np
import pytest
from brute_force import ALL_KS, assert_same, brute_force, leave_one_out, random_set, unit
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_epos.retrieval import evaluate, nearest
from keras_epos.retrieval._product import factors, significant_bits

# JAX compiles each shape anew.
FEW = settings(max_examples=12 if keras.backend.backend() == "jax" else 60, deadline=None)


sets = st.builds(
    random_set,
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(6, 40),
    dim=st.integers(1, 9),
    classes=st.integers(1, 8),
    kind=st.sampled_from(["generic", "grid", "copies", "collapsed"]),
)


def has_match(labels, gallery_labels=None):
    if gallery_labels is None:
        return np.unique(labels, return_counts=True)[1].max() > 1
    return bool(np.isin(labels, gallery_labels).any())


@FEW
@given(sets, st.integers(1, 50))
def test_leave_one_out_equals_brute_force(data, block_size):
    embeddings, labels = data
    if has_match(labels):
        results = evaluate(embeddings, labels, k=ALL_KS, block_size=block_size)
        assert_same(results, leave_one_out(embeddings, labels))


@FEW
@given(sets, st.integers(1, 5), st.integers(1, 50))
def test_query_and_gallery_equal_brute_force(data, num_queries, block_size):
    (queries, gallery), (labels, gallery_labels) = (np.split(part, [num_queries]) for part in data)
    if has_match(labels, gallery_labels) and len(gallery) >= max(ALL_KS):
        results = evaluate(queries, labels, gallery, gallery_labels, k=ALL_KS, block_size=block_size)
        expected = brute_force(queries, labels, gallery, gallery_labels, ALL_KS, lambda q, r: False)
        assert_same(results, expected)


@pytest.mark.parametrize("kind", ["generic", "grid", "copies", "collapsed"])
def test_large_galleries_take_the_short_cuts_and_stay_exact(kind):
    # Classes of about 5 in 300 rows: references are fetched by top-k here, not all at once.
    embeddings, labels = random_set(3, 300, 16, 60, kind)
    results = evaluate(embeddings, labels, k=ALL_KS, block_size=18)
    assert_same(results, leave_one_out(embeddings, labels))


def test_a_gallery_that_is_not_kept_gives_the_same(monkeypatch):
    embeddings, labels = random_set(3, 300, 16, 60, "generic")
    monkeypatch.setattr("keras_epos.retrieval._product.KEPT", 18 * 8 * 16)
    products = []
    monkeypatch.setattr("keras_epos.retrieval._product.factors", lambda *args: products.append(args) or factors(*args))
    assert_same(evaluate(embeddings, labels, k=ALL_KS, block_size=18), leave_one_out(embeddings, labels))
    # 17 blocks of queries, 3 blocks of references of which one is kept, twice: for recall, and for precision.
    assert len([side for _, _, side in products if side == 1]) == 1 + 2 * 2 * 17


@pytest.mark.parametrize("bits", [11, 8])
def test_exact_when_the_backend_rounds_the_factors(bits, monkeypatch):
    # As TF32 and bfloat16 matrix units do; only a GPU or TPU does it for real.
    matmul = ops.matmul
    monkeypatch.setattr(ops, "matmul", lambda *factors: matmul(*(round_to(x, bits) for x in factors)))
    assert significant_bits(16, 8) == bits
    assert significant_bits(16, 1) == bits
    for kind in ("generic", "copies", "collapsed"):
        embeddings, labels = random_set(5, 150, 16, 30, kind)
        results = evaluate(embeddings, labels, k=ALL_KS, block_size=32)
        assert_same(results, leave_one_out(embeddings, labels))


def round_to(x, bits):
    mantissa, exponent = np.frexp(ops.convert_to_numpy(x))
    return ops.convert_to_tensor(np.ldexp(np.round(mantissa * 2**bits) / 2**bits, exponent).astype(np.float32))


def test_published_vector():
    # Seven points on the circle: reference/papers.md section 8.
    angles = np.deg2rad([0, 20, 76, 100, 130, 205, 303])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    results = evaluate(embeddings, [0, 0, 0, 1, 1, 2, 2], k=(1, 2, 4))
    assert results["recall@1"] == pytest.approx(0.428571, abs=1e-6)
    assert results["recall@2"] == pytest.approx(0.714286, abs=1e-6)
    assert results["recall@4"] == 1
    assert results["r_precision"] == pytest.approx(0.357143, abs=1e-6)
    assert results["map@r"] == pytest.approx(0.357143, abs=1e-6)
    assert results["queries_without_match"] == 0


def test_separated_classes_score_one_whatever_the_scale():
    labels = np.repeat(np.arange(4), 3)
    embeddings = np.eye(4)[labels] * np.geomspace(1e-200, 1e200, 12)[:, None]
    results = evaluate(embeddings, labels)
    assert results.pop("queries_without_match") == 0
    assert set(results.values()) == {1.0}


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1])
def test_constant_embedding_scores_zero(value):
    labels = np.repeat(np.arange(4), 5)
    results = evaluate(np.full((20, 7), value, np.float32), labels)
    assert results["recall@1"] == results["recall@8"] == results["map@r"] == 0.0


def test_copies_of_the_query_in_another_class_come_first():
    copies = np.random.default_rng(0).normal(size=(1, 200)).astype(np.float32)
    embeddings = np.concatenate([np.repeat(copies, 3, axis=0), -copies])
    results = evaluate(embeddings, [0, 0, 1, 1], k=(1, 2, 3), block_size=2)
    # Rows 0 and 1 have their positive at rank 2, row 2 at rank 3, row 3 at rank 3 of equals.
    assert (results["recall@1"], results["recall@2"], results["recall@3"]) == (0, 0.5, 1)


def test_the_row_itself_is_left_out_even_when_it_is_not_nearest():
    # Scaled copies: rounding may put the copy before the row; only identity is safe.
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(30, 33)).astype(np.float32)
    embeddings = np.concatenate([rows, rows * np.float32(1.7)])
    results = evaluate(embeddings, np.arange(60) % 30, k=1)
    assert results["recall@1"] == 1
    indices = nearest(embeddings, k=1)[1]
    assert (indices[:, 0] == (np.arange(60) + 30) % 60).all()


def test_queries_without_match_are_counted_and_left_out():
    embeddings = np.array([[1, 0], [1, 0.1], [0, 1], [0.5, 1]])
    results = evaluate(embeddings, ["car", "car", "dog", "cat"], k=1)
    assert results["queries_without_match"] == 2
    assert results["recall@1"] == 1


def test_labels_are_compared_exactly():
    embeddings, big = np.eye(4)[[0, 0, 1, 1]] + 0.01, 2**60
    for labels in (
        [2**24, 2**24, 2**24 + 1, 2**24 + 1],
        [big, big, big + 1, big + 1],
        np.array([2**64 - 1, 2**64 - 1, 2**64 - 2, 2**64 - 2], np.uint64),
        np.array([[1], [1], [-1], [-1]]),
        ["a", "a", "b", "b"],
        [1.0, 1.0, 0.0, 0.0],
        [True, True, False, False],
    ):
        assert evaluate(embeddings, labels, k=1)["recall@1"] == 1
    alternating = np.array([big, big + 1, big, big + 1])
    assert evaluate(embeddings, alternating, k=1)["recall@1"] == 0
    mixed = evaluate(embeddings, alternating, embeddings, alternating.astype(np.uint64), k=1)
    assert mixed["recall@1"] == 0  # Each row stands in the gallery, beside an equal of another class.


def test_ids_leave_out_the_same_item():
    embeddings = np.array([[0, 1], [1, 0], [0.9, 0.4], [1, 0], [0.1, 1]])
    labels, ids = [0, 0, 1, 0, 1], ["z", "x", "y", "x", "w"]
    assert evaluate(embeddings, labels, k=1)["recall@1"] == pytest.approx(2 / 5)
    assert evaluate(embeddings, labels, k=1, ids=ids)["recall@1"] == 0
    both = evaluate(embeddings, labels, embeddings, labels, k=1, ids=ids, gallery_ids=ids)
    assert both["recall@1"] == 0
    expected = brute_force(embeddings, labels, embeddings, labels, (1,), lambda q, r: ids[q] == ids[r])
    assert_same(both, expected)


def test_float64_embeddings_are_used_in_full():
    step = 1e-9  # Below float32, far above TIE.
    angles = np.array([0.5, 0.5 + 2 * step, 0.5 - step, 2.0])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert_same(
        evaluate(embeddings, [0, 0, 1, 1], k=(1, 2)),
        leave_one_out(embeddings, [0, 0, 1, 1], k=(1, 2)),
    )


def test_tensors_and_half_precision():
    embeddings, labels = random_set(0, 30, 4, 3, "generic")
    half = embeddings.astype(np.float16)
    expected = evaluate(half.astype(np.float32), labels)
    assert evaluate(ops.convert_to_tensor(half), ops.convert_to_tensor(labels)) == expected
    assert evaluate(half.tolist(), labels.tolist()) == expected


@FEW
@given(sets, st.integers(1, 4), st.integers(1, 50), st.booleans())
def test_nearest_equals_brute_force(data, k, block_size, with_gallery):
    embeddings, _ = data
    gallery = embeddings[3:] if with_gallery else None
    if with_gallery and len(gallery) < k:
        return
    similarity, indices = nearest(embeddings, gallery, k, block_size=block_size)
    assert similarity.dtype == np.float32
    assert indices.dtype == np.int64
    exact = unit(embeddings) @ unit(embeddings if gallery is None else gallery).T
    # Ties may come in any order, so similarities are compared, not indices.
    np.testing.assert_allclose(np.take_along_axis(exact, indices, axis=1), similarity, rtol=0, atol=1e-7)
    if gallery is None:
        assert (indices != np.arange(len(embeddings))[:, None]).all()
        np.fill_diagonal(exact, -np.inf)
    assert all(len(set(row)) == k for row in indices)
    expected = -np.sort(-exact, axis=1)[:, :k]
    np.testing.assert_allclose(similarity, expected, rtol=0, atol=1e-7)


def test_nearest_in_a_large_gallery():
    embeddings, _ = random_set(7, 500, 12, 3, "generic")
    _similarity, indices = nearest(embeddings[:20], embeddings, k=5, block_size=32)
    exact = unit(embeddings[:20]) @ unit(embeddings).T
    assert (indices == np.argsort(-exact, axis=1)[:, :5]).all()
    assert (indices[:, 0] == np.arange(20)).all()
    without = nearest(embeddings[:20], embeddings, k=4, exclude_self=True)[1]
    assert (without == indices[:, 1:]).all()


GOOD = np.random.default_rng(0).normal(size=(6, 3))
LABELS = [0, 0, 1, 1, 2, 2]
NAN = np.where(np.arange(6)[:, None] < 2, np.nan, GOOD)


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((NAN, LABELS), {}, "NaN or infinity in 2 of 6 rows"),
        ((GOOD, LABELS[:5]), {}, "`labels` must have one entry for each of 6 rows"),
        ((GOOD[0], LABELS), {}, "`embeddings` must be numbers of shape"),
        ((GOOD[:1], [0]), {}, "`embeddings` must have two rows"),
        ((GOOD, np.eye(6)), {}, "argmax"),
        ((GOOD, None), {}, "`labels` must be integers or strings"),
        ((GOOD, [0.5] * 6), {}, "`labels` must be integers or strings"),
        ((GOOD, np.full(6, 2**24, np.float32)), {}, "too large to be exact"),
        ((GOOD, range(6)), {"k": 1}, "`labels` must give at least one query"),
        ((GOOD, LABELS), {"k": 6}, "`k` must be at most the number of references of a query, 5"),
        ((GOOD, LABELS), {"k": 0}, "`k` must be an integer of at least 1"),
        ((GOOD, LABELS), {"k": ()}, "`k` must be one or more"),
        ((GOOD, LABELS), {"metrics": "nmi"}, "`metrics` must be some of"),
        ((GOOD, LABELS), {"k": 1, "block_size": 0}, "`block_size` must be an integer of at least 1"),
        ((GOOD, LABELS, GOOD), {}, "`gallery_labels` must be given"),
        ((GOOD, LABELS, GOOD[:, :2], LABELS), {}, "`gallery_embeddings` must have the 3 columns"),
        ((GOOD, LABELS, GOOD, list("aabbcc")), {"k": 1}, "must be of the kind of `labels`"),
        ((GOOD, LABELS), {"k": 1, "ids": [0, 1, 1, 2, 3, 4]}, "`ids` must have one label each"),
        ((GOOD, LABELS), {"k": 1, "gallery_ids": LABELS}, "`gallery_ids` must come with a gallery"),
        ((GOOD, LABELS, GOOD, LABELS), {"k": 1, "ids": LABELS}, "`ids` must come with `gallery_ids`"),
    ],
)
def test_errors_name_the_argument(arguments, keywords, message):
    with pytest.raises(ValueError, match=message):
        evaluate(*arguments, **keywords)


def test_nearest_refuses_more_than_the_gallery_holds():
    with pytest.raises(ValueError, match="`k` must be at most the number of references"):
        nearest(GOOD, k=6)


def test_nearest_speaks_of_its_own_gallery():
    with pytest.raises(ValueError, match=r"5 here\. Received: k=10\. Pass a smaller `k`, or a larger gallery"):
        nearest(np.eye(3, 5), np.eye(5), k=10)
    for k in ((1, 2), 1.0, True):
        with pytest.raises(ValueError, match="`k` must be an integer of at least 1"):
            nearest(np.eye(5), k=k)


def test_arguments_in_a_wrong_order_are_told():
    rows = np.random.default_rng(0).normal(size=(6, 3))
    labels = np.array([0, 0, 1, 1, 2, 2])
    with pytest.raises(ValueError, match=r"`embeddings` must be numbers.* The order is embeddings, labels, gallery"):
        evaluate(labels, rows)
    with pytest.raises(ValueError, match=r"`gallery_embeddings` must be numbers.* The order is embeddings, labels"):
        evaluate(rows, rows, labels, labels, k=1)
    with pytest.raises(ValueError, match=r"argmax\(axis=1\)"):
        evaluate(rows, np.eye(3)[labels], k=1)


def test_pairs_with_zeros_and_ones_are_told():
    """Labels that say which pairs match would count every row of either kind as one class."""
    first, second = np.random.default_rng(0).normal(size=(2, 8, 3))
    match = np.arange(8) % 2
    with pytest.warns(UserWarning, match="the same zeros and ones.*labels must be classes"):
        evaluate(first, match, second, match, k=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        evaluate(first, match, k=1)
        evaluate(first, match, second, 1 - match, k=1)
        evaluate(first, match, second[:6], match[:6], k=1)
        evaluate(first, match + 1, second, match + 1, k=1)


def test_only_the_metrics_asked_for():
    assert set(evaluate(GOOD, LABELS, k=(1, 3), metrics="recall")) == {
        "recall@1",
        "recall@3",
        "queries_without_match",
    }
    assert set(evaluate(GOOD, LABELS, metrics=["map@r"])) == {"map@r", "queries_without_match"}


def test_the_nearest_where_float32_cannot_tell():
    # 400 similarities within 1e-7: of equal ones in float32 the first come, and the largest is the last.
    cosine = 0.5 + np.arange(400) * 2.5e-10
    gallery = np.stack([cosine, np.sqrt(1 - cosine**2)], axis=1)
    _, indices = nearest(np.array([[1.0, 0.0]]), gallery, k=2)
    assert indices.tolist() == [[399, 398]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_zeros_are_similar_to_none(dtype):
    embeddings = np.array([[1, 0], [0, 0], [0, 1], [0, 1]], dtype)
    similarity, _ = nearest(embeddings, k=3)
    assert similarity.tolist() == [[0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0]]
