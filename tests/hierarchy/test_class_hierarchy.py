"""The tree: closed forms against loops over pairs, merging against SciPy and against the definition, what must hold."""

import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_epos import reference
from keras_epos.hierarchy import (
    LINKAGES,
    ClassHierarchy,
    class_means,
    draw_dendrogram,
    merge,
    nearest_classes,
    nodes_at_levels,
    spread_within,
    squared_distances,
)

# Seven points of the unit circle; numbers worked out apart from this code.
ANGLES = np.deg2rad([0, 20, 76, 100, 130, 205, 303])
POINTS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
LABELS = np.array([0, 0, 0, 1, 1, 2, 2])
PAIRS = ([0, 0, 1], [1, 2, 2])


def random_classes(seed=0, sizes=(4, 3, 5, 2, 1, 6, 2), dim=3):
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centers = random.standard_normal((len(sizes), dim))
    return labels, centers[labels] + 0.5 * random.standard_normal((len(labels), dim))


# --- numbers ---


def test_distances_of_seven_points():
    hierarchy = ClassHierarchy.from_embeddings(POINTS, LABELS)
    np.testing.assert_allclose(hierarchy.spread, [0.839462, 0.267949, 2.278346], atol=1e-6)
    assert hierarchy.thresholds[0] == pytest.approx(1.128586, abs=1e-6)
    np.testing.assert_allclose(np.diff(hierarchy.thresholds), 0.179463, atol=1e-6)
    assert hierarchy.thresholds[1] == pytest.approx(1.308049, abs=1e-6)
    assert hierarchy.thresholds[16] == 4
    np.testing.assert_allclose(squared_distances(hierarchy.means)[PAIRS], [1.827826, 2.814744, 2.956526], atol=1e-6)


def test_levels_of_seven_points_by_each_linkage():
    expected = {"average": 2.871457, "class_average": 2.885635, "single": 2.814744, "complete": 2.956526}
    for linkage, height in expected.items():
        hierarchy = ClassHierarchy.from_embeddings(POINTS, LABELS, linkage=linkage)
        np.testing.assert_allclose(hierarchy.merges, [[0, 1, 1.827826, 2], [2, 3, height, 3]], atol=1e-6)
        last, apart = (11, 3.102683) if linkage == "complete" else (10, 2.923220)
        np.testing.assert_array_equal(hierarchy.level(*PAIRS), [4, last, last])
        np.testing.assert_allclose(hierarchy.distance(*PAIRS), [1.846439, apart, apart], atol=1e-6)


def test_margins_of_seven_points():
    hierarchy = ClassHierarchy.from_embeddings(POINTS, LABELS)
    found = hierarchy.margin([0, 1, 0, 2], [1, 0, 2, 0], beta=0.1)
    np.testing.assert_allclose(found, [1.106978, 1.678490, 2.183758, 0.744873], atol=1e-6)
    # Classes 1 and 2 on their own merge at level 11, which "complete" keeps and "average" does not.
    complete = ClassHierarchy.from_embeddings(POINTS, LABELS, linkage="complete")
    np.testing.assert_allclose(complete.margin([1, 2], [2, 1]), [2.934734, 0.924337], atol=1e-6)


# --- definitions ---


@pytest.mark.parametrize("linkage", LINKAGES)
@pytest.mark.parametrize("seed", range(3))
def test_equals_loops_over_pairs_of_samples_and_of_nodes(linkage, seed):
    labels, embeddings = random_classes(seed)
    hierarchy = ClassHierarchy.from_embeddings(embeddings, labels, num_levels=40, linkage=linkage)
    apart, spread = reference.class_tree(labels, embeddings, 40, linkage)
    np.testing.assert_allclose(hierarchy.spread, spread, atol=1e-6)
    classes = np.arange(7)
    np.testing.assert_allclose(hierarchy.distance(classes[:, None], classes), apart, atol=1e-6)


def test_means_in_blocks_and_of_rows_of_any_length(monkeypatch):
    labels, embeddings = random_classes()
    _, counts, means = class_means(embeddings, labels)
    monkeypatch.setattr("keras_epos._rows.CHUNK", 4)
    for scale in (1e200, 1e-200):
        again = class_means(embeddings * scale, labels[:, None])
        np.testing.assert_allclose(again[2], means, rtol=1e-12)
        np.testing.assert_array_equal(again[1], counts)


@pytest.mark.parametrize("linkage", ["class_average", "single", "complete"])
def test_merging_equals_scipy(linkage):
    cluster = pytest.importorskip("scipy.cluster.hierarchy")
    distance = pytest.importorskip("scipy.spatial.distance")
    points = np.random.default_rng(0).standard_normal((60, 4))
    expected = cluster.linkage(points, "average" if linkage == "class_average" else linkage)
    square = distance.squareform(distance.pdist(points))
    np.testing.assert_allclose(merge(square, np.arange(60) + 1, linkage), expected, rtol=1e-12)


def test_neighbors_in_blocks_equal_a_full_sort(monkeypatch):
    means = np.random.default_rng(0).integers(-2, 3, (50, 3)) / 8  # many ties
    distances = squared_distances(means)
    np.fill_diagonal(distances, np.inf)
    expected = np.argsort(distances, axis=1, kind="stable")
    monkeypatch.setattr("keras_epos.hierarchy._distances._CLASSES", 16)
    for count in (0, 1, 7, 49):
        np.testing.assert_array_equal(nearest_classes(means, count), expected[:, :count])


def test_memory_is_one_matrix_of_classes_and_none_of_samples():
    random, size = np.random.default_rng(0), 1200
    labels = np.repeat(np.arange(size), 4)
    embeddings = random.standard_normal((size, 8))[labels] + random.standard_normal((4 * size, 8))
    tracemalloc.start()
    hierarchy = ClassHierarchy.from_embeddings(embeddings, labels)
    hierarchy.nearest(31)
    assert tracemalloc.get_traced_memory()[1] < 4 * 8 * 1024 * size
    tracemalloc.reset_peak()
    assert len(hierarchy.groups(16)) == 1
    assert tracemalloc.get_traced_memory()[1] < 1.5 * 8 * size**2
    tracemalloc.stop()


# --- what holds for every tree ---


@st.composite
def trees(draw):
    size = draw(st.integers(1, 12))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    # On a grid, so that there are ties and copies.
    means = random.integers(-3, 4, (size, draw(st.integers(1, 3)))) / 6
    labels = np.sort(random.choice(1000, size, replace=False)) - 500
    linkage = draw(st.sampled_from(sorted(LINKAGES)))
    return ClassHierarchy(means, random.integers(1, 9, size), labels, draw(st.integers(1, 20)), linkage)


@settings(max_examples=150, deadline=None)
@given(trees())
def test_levels_are_nested_margins_symmetric_and_heights_rise(tree):
    size = len(tree)
    assert (np.diff(tree.merges[:, 2]) >= 0).all()
    assert sorted(tree.merges[:, :2].ravel()) == list(range(2 * size - 2))
    sizes = [len(tree.groups(level)) for level in range(tree.num_levels + 1)]
    assert sizes[0] == size
    assert sizes[-1] == 1
    for below, above in zip(tree.nodes[:-1], tree.nodes[1:], strict=True):
        together, still = below[:, None] == below, above[:, None] == above
        assert (still | ~together).all()
    apart = tree.distance(tree.classes[:, None], tree.classes)
    assert (apart == apart.T).all()
    # An ultrametric: of three distances the two largest are equal.
    assert (apart[:, None] <= np.maximum(apart[:, :, None], apart[None]) + 1e-12).all()
    others = ~np.eye(size, dtype=bool)
    assert (apart[others] >= tree.thresholds[1]).all()
    assert (np.diag(apart) == tree.thresholds[0]).all()


@settings(max_examples=60, deadline=None)
@given(trees())
def test_groups_are_those_that_the_linkage_brings_below_the_threshold(tree):
    heights = tree.merges[:, 2]
    for level in range(1, tree.num_levels):
        assert len(tree.groups(level)) == len(tree) - np.sum(heights < tree.thresholds[level])


def test_classes_as_far_apart_as_a_threshold_are_not_below_it():
    nodes = nodes_at_levels(np.array([[0, 1, 1.0, 2]]), np.array([0.0, 1.0, 2.0]))
    assert (nodes[:, 0] != nodes[:, 1]).tolist() == [True, True, False]


def test_neighbors_by_label():
    labels, embeddings = random_classes()
    names = np.array([-9, -1, 4, 30, 31, 80, 2**40])
    hierarchy = ClassHierarchy.from_embeddings(embeddings, names[labels])
    distances = squared_distances(hierarchy.means)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(hierarchy.neighbors(30, 3), names[np.argsort(distances[3])[:3]])
    assert len(hierarchy.neighbors(30, 100)) == 6
    among = names[[1, 3, 6]]
    found = hierarchy.nearest(1, among)[:, 0]
    np.testing.assert_array_equal(found, distances[np.ix_([1, 3, 6], [1, 3, 6])].argmin(axis=1))


def test_classes_without_spread():
    alone = ClassHierarchy.from_embeddings(np.eye(3), [5, 6, 7])
    np.testing.assert_array_equal(alone.spread, 0)
    assert alone.thresholds[0] == 0
    collapsed = ClassHierarchy.from_embeddings(np.ones((6, 4)), np.arange(6) // 2)
    np.testing.assert_allclose(collapsed.spread, 0, atol=1e-6)
    assert len(collapsed.groups(1)) == 1
    one = ClassHierarchy.from_embeddings(np.eye(2), [3, 3])
    assert one.distance(3, 3) == one.thresholds[0] == 2
    opposite = ClassHierarchy.from_embeddings([[1.0], [-1.0]], [0, 1])
    assert opposite.distance(0, 1) == 4


# --- as data and on paper ---


def test_saved_and_loaded(tmp_path):
    labels, embeddings = random_classes()
    hierarchy = ClassHierarchy.from_embeddings(embeddings, labels * 3 - 4, num_levels=8, linkage="single")
    hierarchy.save(tmp_path / "tree.npz")
    again = ClassHierarchy.load(tmp_path / "tree.npz")
    assert (again.num_levels, again.linkage) == (8, "single")
    for name in ("classes", "counts", "means", "spread", "thresholds", "merges", "nodes"):
        np.testing.assert_array_equal(getattr(again, name), getattr(hierarchy, name))
    assert str(again) == str(hierarchy)


def test_printed():
    lines = str(ClassHierarchy.from_embeddings(POINTS, LABELS)).splitlines()
    assert lines[0] == "3 classes of 7 samples, average linkage. Squared distances:"
    assert lines[2].split() == ["0", "1.129", "3", "1"]
    assert lines[-1].split() == ["10", "2.923", "1", "3"]


def test_drawn():
    pytest.importorskip("scipy")
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    labels, embeddings = random_classes()
    axis = draw_dendrogram(ClassHierarchy.from_embeddings(embeddings, labels), list("abcdefg"))
    assert sorted(text.get_text() for text in axis.get_yticklabels()) == list("abcdefg")
    with pytest.raises(ValueError, match="`num_groups` must be an integer from 1 to 7"):
        draw_dendrogram(ClassHierarchy.from_embeddings(embeddings, labels), num_groups=8)
    with pytest.raises(ValueError, match="`names` must be one for each"):
        draw_dendrogram(ClassHierarchy.from_embeddings(embeddings, labels), ["a"])


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="pip install scipy matplotlib"):
        draw_dendrogram(ClassHierarchy.from_embeddings(POINTS, LABELS))


# --- refusals ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_levels": 0}, "`num_levels` must be an integer of at least 1. Received: num_levels=0"),
        ({"linkage": "ward"}, "`linkage` must be one of .* Received: linkage='ward'"),
        ({"means": [[np.nan], [1.0]]}, "`means` must be finite"),
        ({"means": np.zeros((0, 2))}, "`means` must be finite, of shape"),
        ({"counts": [1, 0]}, "`counts` must be 2 integers of at least 1"),
        ({"classes": [4, 4]}, "`classes` must be 2 integers in ascending order"),
    ],
)
def test_arguments_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        ClassHierarchy(**{"means": [[0.5], [1.0]], "counts": [2, 2], **change})


def test_what_is_no_embedding_or_class_is_turned_away():
    for embeddings, labels, message in (
        (np.eye(3), [0.0, 1.0, 2.0], "`labels` must be integers"),
        (np.eye(3), [0, 1], "`labels` must have one entry for each of 3 rows"),
        (np.full((2, 2), np.inf), [0, 1], "`embeddings` must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            ClassHierarchy.from_embeddings(embeddings, labels)
    with pytest.raises(ValueError, match="`labels` must be classes of the hierarchy"):
        ClassHierarchy.from_embeddings(POINTS, LABELS).distance(0, [1, 7])
    with pytest.raises(ValueError, match="`count` must be an integer from 0 to 2"):
        nearest_classes(np.eye(3), 3)
    tree = ClassHierarchy.from_embeddings(POINTS, LABELS)
    for call, message in (
        (lambda: nearest_classes(np.eye(3), 1.5), r"count=1\.5"),
        (lambda: nearest_classes(np.eye(3), True), "count=True"),
        (lambda: tree.neighbors(0, -1), "`count` must be an integer of at least 0. Received: count=-1"),
        (lambda: tree.neighbors(0, 2.0), r"count=2\.0"),
        (lambda: tree.groups(True), "level=True"),
        (lambda: tree.groups(-1), "`level` must be an integer from 0 to 16. Received: level=-1"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match="`distances` must be a square matrix"):
        merge(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="`counts` must be 2 positive numbers"):
        merge(np.zeros((2, 2)), [1, 0])
    with pytest.raises(ValueError, match="`linkage` must be one of"):
        merge(np.zeros((2, 2)), linkage="ward")


def test_spread_of_classes_of_any_size():
    np.testing.assert_allclose(spread_within([[0.0], [0.5], [1.0]], [2, 3, 1]), [4.0, 2.25, 0.0])
