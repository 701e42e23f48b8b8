"""Measures of collapse against loops over pairs, on random, tied, degenerate and collapsed embeddings."""

import itertools

import numpy as np
import pytest

from keras_epos import collapse, retrieval

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 60)
MODES = 2 * LABELS + RNG.integers(0, 2, 60)
EMBEDDINGS = {
    "random": RNG.normal(size=(60, 6)),
    "float32": RNG.normal(size=(60, 6)).astype(np.float32),
    "huge": 1e30 * RNG.normal(size=(60, 6)),
    "tied": RNG.integers(-1, 2, (60, 3)).astype(float) + np.array([3, 0, 0]),
    "classes are points": np.eye(4)[LABELS],
    "modes are points": np.eye(8)[MODES],
    "one row of zeros": RNG.normal(size=(60, 6)) * (np.arange(60) > 0)[:, None],
}


def unit(embeddings):
    rows = np.asarray(embeddings, float)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norm > 0, norm, 1)


def mean_distances(rows, labels, wanted):
    """Mean over classes of the mean cosine distance of the pairs of a class that are wanted."""
    means = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        found = [1 - rows[i] @ rows[j] for i, j in itertools.permutations(members, 2) if wanted(i, j)]
        means += [np.mean(found)] if found else []
    return np.mean(means)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_spread(name):
    rows = unit(EMBEDDINGS[name])
    found = collapse.spread(EMBEDDINGS[name], LABELS)
    intra = mean_distances(rows, LABELS, lambda i, j: True)
    means = [unit([rows[label == LABELS].mean(axis=0)])[0] for label in range(4)]
    inter = np.mean([1 - a @ b for a, b in itertools.combinations(means, 2)])
    assert found["intra_distance"] == pytest.approx(intra, abs=1e-12)
    assert found["inter_distance"] == pytest.approx(inter, abs=1e-12)
    assert found["intra_inter_ratio"] == pytest.approx(intra / inter, abs=1e-10)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_mode_spread(name):
    rows = unit(EMBEDDINGS[name])
    found = collapse.mode_spread(EMBEDDINGS[name], LABELS, MODES)
    within = mean_distances(rows, LABELS, lambda i, j: MODES[i] == MODES[j])
    cross = mean_distances(rows, LABELS, lambda i, j: MODES[i] != MODES[j])
    assert found["within_mode_distance"] == pytest.approx(within, abs=1e-12)
    assert found["cross_mode_distance"] == pytest.approx(cross, abs=1e-12)


def test_a_mode_in_two_classes_counts_as_two():
    rows = RNG.normal(size=(60, 6))
    assert collapse.mode_spread(rows, LABELS, MODES) == collapse.mode_spread(rows, LABELS, MODES % 2)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_coinciding(name):
    rows = unit(EMBEDDINGS[name])
    for distance in (1e-3, 0.5):
        nearest = [
            min(np.linalg.norm(rows[i] - rows[j]) for j in np.flatnonzero(LABELS[i] == LABELS) if j != i)
            for i in range(60)
        ]
        expected = np.mean(np.array(nearest) < distance)
        for block_size in (1024, 7):
            assert collapse.coinciding(EMBEDDINGS[name], LABELS, distance, block_size) == expected


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_spectrum(name):
    rows = unit(EMBEDDINGS[name])
    variances = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2
    share = variances[variances > 1e-13] / variances.sum()
    assert collapse.effective_rank(EMBEDDINGS[name]) == pytest.approx(np.exp(-np.sum(share * np.log(share))), rel=1e-6)
    values = np.linalg.svd(rows, compute_uv=False)
    values = np.maximum(values, 1e-6 * values.max())
    uniform = np.full(len(values), 1 / len(values))
    divergence = np.sum(uniform * np.log(uniform * values.sum() / values))
    assert collapse.spectral_decay(EMBEDDINGS[name]) == pytest.approx(divergence, rel=1e-6, abs=1e-9)


def test_rank_counts_directions():
    ball = RNG.normal(size=(20000, 5))
    assert collapse.effective_rank(ball) == pytest.approx(5, abs=0.01)
    assert collapse.effective_rank(np.pad(ball[:, :3], ((0, 0), (0, 7)))) == pytest.approx(3, abs=0.01)
    assert collapse.effective_rank(np.eye(8)[MODES], LABELS) == pytest.approx(1)
    few_rows = RNG.normal(size=(4, 50))
    assert collapse.effective_rank(few_rows) <= 3 + 1e-9


def test_total_collapse_has_values_and_no_nan():
    values = collapse.measure(np.ones((60, 6)), LABELS, MODES)
    assert values["intra_distance"] == values["inter_distance"] == values["intra_inter_ratio"] == 0
    assert values["effective_rank"] == values["class_effective_rank"] == values["cross_mode_distance"] == 0
    assert values["coinciding"] == 1
    assert values["recall@1"] == values["mode_recall@1"] == 0
    assert np.isfinite(list(values.values())).all()
    assert np.isfinite(collapse.spectral_decay(np.zeros((4, 3))))


def test_measure_is_its_parts():
    rows = EMBEDDINGS["random"]
    values = collapse.measure(rows, LABELS, MODES)
    assert values["mode_recall@1"] == retrieval.evaluate(rows, MODES, k=(1,))["recall@1"]
    assert values["cross_mode_distance"] == collapse.mode_spread(rows, LABELS, MODES)["cross_mode_distance"]
    assert not any("mode" in name for name in collapse.measure(rows, LABELS))
    names = np.array(["a", "b", "c", "d"])
    assert collapse.measure(rows, names[LABELS]) == collapse.measure(rows, LABELS)


def test_nmi():
    pytest.importorskip("sklearn")
    assert collapse.mode_nmi(np.eye(8)[MODES], MODES) == pytest.approx(1)
    assert collapse.mode_nmi(RNG.normal(size=(60, 6)), MODES) < 0.6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: collapse.spread(np.ones((3, 2)), [0, 1, 2]), "two samples or more"),
        (lambda: collapse.spread(np.ones((3, 2)), [0, 0, 0]), "two classes or more"),
        (lambda: collapse.mode_spread(np.ones((3, 2)), [0, 0, 1], [0, 0, 1]), "two modes or more"),
        (lambda: collapse.coinciding(np.ones((3, 2)), [0, 1, 2]), "all labels differ"),
        (lambda: collapse.coinciding(np.ones((3, 2)), [0, 0, 2], 3), "`distance` must be in"),
        (lambda: collapse.coinciding(np.ones((3, 2)), [0, 0, 2], block_size=0), "block_size=0"),
        (lambda: collapse.coinciding(np.ones((3, 2)), [0, 0, 2], True), "distance=True"),
        (lambda: collapse.measure(np.full((3, 2), np.nan), [0, 0, 1]), "must be finite"),
        (lambda: collapse.measure(np.ones((3, 2)), [0, 0]), "one entry for each of 3 rows"),
    ],
)
def test_wrong_use(call, message):
    with pytest.raises(ValueError, match=message):
        call()
