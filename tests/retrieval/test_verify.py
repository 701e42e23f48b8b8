"""Error rates of pairs against a list of all similarities."""

import keras
import numpy as np
import pytest
from brute_force import random_set, unit

from keras_epos.retrieval import TIE, _pair_counts, template_means, verify, verify_pairs

pytestmark = pytest.mark.filterwarnings("ignore:The intervals come from a bootstrap over")
CASES = 10 if keras.backend.backend() == "jax" else 100
RATES = (0.01, 0.1, 0.5)


def lowest(different, same, is_refused):
    """The lowest threshold, one above each similarity or below all, that is not refused."""
    for threshold in [-1 - TIE, *(np.sort(np.concatenate([different, same])) + TIE)]:
        counts = np.sum(different > threshold), np.sum(same > threshold)
        if not is_refused(*counts):
            return threshold, *counts
    raise AssertionError


def assert_rates(found, different, same, slack=1e-14):
    for place, rate in enumerate(found.wanted):
        threshold, others, accepted = lowest(different, same, lambda o, s, rate=rate: o > rate * len(different) + 1e-9)
        assert found.thresholds[place] == pytest.approx(threshold, abs=slack)
        assert found.false_accept_rate[place] == others / len(different) <= rate + 1e-12
        assert found.true_accept_rate[place] == accepted / len(same)
    threshold, _, accepted = lowest(different, same, lambda o, s: o * len(same) > (len(same) - s) * len(different))
    assert found.eer_threshold == pytest.approx(threshold, abs=slack)
    assert found.eer == 1 - accepted / len(same)
    assert (found.num_same, found.num_different) == (len(same), len(different))


@pytest.mark.parametrize("kept", [2**20, 20])
def test_all_pairs_equal_brute_force(kept, monkeypatch):
    monkeypatch.setattr(_pair_counts, "KEPT", kept)
    monkeypatch.setattr(_pair_counts, "BINS", 2**14 if kept > 20 else 64)
    monkeypatch.setattr(_pair_counts, "SAMPLE", 256 if kept > 20 else 4)
    for seed in range(CASES // 2):
        embeddings, labels = random_set(seed, 24, 1 + seed % 5, 5, ["generic", "grid", "copies"][seed % 3])
        gallery = slice(8, None) if seed % 2 else slice(None)
        similarity = unit(embeddings) @ unit(embeddings[gallery]).T
        same = labels[:, None] == labels[gallery]
        items = np.arange(24)
        counted = items[:, None] != items[gallery]
        arguments = (embeddings, labels)
        named = {}
        if seed % 2:
            arguments += (embeddings[gallery], labels[gallery])
            named = {"ids": items, "gallery_ids": items[gallery]}
        found = verify(*arguments, **named, false_accept_rates=RATES, block_size=5)
        parts = similarity[counted & ~same], similarity[counted & same]
        # Ties that are too many to be kept are cut on one side of them all.
        assert_rates(found, *parts, slack=1e-14 if kept > 20 else 20 * TIE)
        assert (found.intervals[:, 0] <= found.true_accept_rate).all()
        assert (found.true_accept_rate <= found.intervals[:, 1]).all()


def test_many_pairs_are_counted_and_not_kept():
    embeddings, labels = random_set(1, 1500, 16, 300, "generic")
    similarity = unit(embeddings) @ unit(embeddings).T
    same = labels[:, None] == labels
    np.fill_diagonal(similarity, np.nan)
    parts = [part[~np.isnan(part)] for part in (similarity[~same], similarity[same])]
    found = verify(embeddings, labels, false_accept_rates=(1e-4, 0.01, 0.3), block_size=200)
    for place, rate in enumerate(found.wanted):
        threshold = np.sort(parts[0])[::-1][int(rate * len(parts[0]))] + TIE
        # A pair of one class may lie between.
        assert found.thresholds[place] == pytest.approx(threshold, abs=1e-4)
        assert np.sum(parts[0] > found.thresholds[place]) / len(parts[0]) == found.false_accept_rate[place] <= rate
        assert np.sum(parts[1] > found.thresholds[place]) / len(parts[1]) == found.true_accept_rate[place]
    far, frr = np.mean(parts[0] > found.eer_threshold), np.mean(parts[1] <= found.eer_threshold)
    assert found.eer == pytest.approx(frr)
    assert far <= frr < far + 2e-3


def test_lists_of_pairs_equal_brute_force():
    for seed in range(CASES // 2):
        generator = np.random.default_rng(seed)
        first, second = (random_set(seed + shift, 40, 3, 2, ["generic", "grid"][seed % 2])[0] for shift in (0, 1000))
        same = generator.permutation(np.arange(40) % 3 == 0)
        second = np.where(same[:, None] & (np.arange(40) % 2 == 0)[:, None], first + 0.2 * second, second)
        similarity = np.sum(unit(first) * unit(second), axis=1)
        found = verify_pairs(first, second, same, false_accept_rates=RATES, folds=5)
        assert_rates(found, similarity[~same], similarity[same])
        accuracies, values = [], np.unique(similarity.round(12))
        between = [-2, *(values[1:] + values[:-1]) / 2, 2]
        for fold in range(5):
            here = np.arange(40) // 8 == fold
            best = max(np.mean((similarity[~here] > t) == same[~here]) for t in between)
            options = [
                np.mean((similarity[here] > t) == same[here])
                for t in between
                if np.mean((similarity[~here] > t) == same[~here]) == best
            ]
            accuracies.append((min(options), max(options)))
        low, high = np.mean(accuracies, axis=0)
        assert low - 1e-12 <= found.accuracy <= high + 1e-12


def test_no_threshold_of_a_fold_lies_between_equals():
    # Of each fold three right ones and two wrong ones have the same similarity: to accept all of them is best.
    first = np.tile([1.0, 0], (12, 1))
    second = np.tile(np.concatenate([np.tile([3.0, 4.0], (5, 1)) * [[1], [2], [0.3], [7], [0.9]], [[0, 1.0]]]), (2, 1))
    found = verify_pairs(first, second, [1, 1, 1, 0, 0, 0] * 2, folds=2)
    assert found.accuracy == pytest.approx(4 / 6)


def test_a_constant_embedding_verifies_nothing():
    found = verify(np.ones((20, 3)), np.arange(20) % 4, false_accept_rates=0.1)
    assert (found.eer, found.true_accept_rate[0], found.false_accept_rate[0]) == (1, 0, 0)


ROWS = np.random.default_rng(0).normal(size=(4, 3))


def test_what_does_not_fit_is_told():
    for labels, message in (([0, 0, 0, 0], "12 of the same, 0 of different"), (range(4), "0 of the same")):
        with pytest.raises(ValueError, match=message):
            verify(ROWS, labels)
    for rate in (0, 1, 10):
        with pytest.raises(ValueError, match=r"`false_accept_rates` must be shares in \(0, 1\)"):
            verify(ROWS, [0, 0, 1, 1], false_accept_rates=rate)
    for arguments, named, message in (
        ((ROWS, ROWS, [0, 1, 2, 0]), {}, "`is_same` must be zeros and ones"),
        ((ROWS, ROWS, [0, 1, 1]), {}, "one for each of 4 pairs"),
        ((ROWS, ROWS[:3], [0, 1, 1]), {}, "`second` must have the 4 rows of `first`"),
        ((ROWS, ROWS, [0, 1]), {"pairs": [[0, 1], [0, 4]]}, r"`pairs` must be integers \(P, 2\), rows of 4"),
        ((ROWS, ROWS, [0, 1]), {"pairs": [0, 1]}, "`pairs` must be integers"),
        ((ROWS, ROWS, [0, 0, 1, 1]), {"folds": 5}, "`folds` must be an integer from 2 to 4"),
        ((ROWS, ROWS, [0, 0, 1, 1]), {"folds": [1, 1, 1, 1]}, "`folds` must be a number of parts"),
    ):
        with pytest.raises(ValueError, match=message):
            verify_pairs(*arguments, **named)


def test_a_wrong_guess_costs_time_and_no_pair(monkeypatch):
    embeddings, labels = random_set(1, 1500, 16, 300, "generic")
    expected = verify(embeddings, labels, false_accept_rates=RATES)
    # Above all thresholds, and between them.
    for low in (0.9, expected.thresholds[1] + 0.01):
        looks = []

        def guess(self, some, goals, low=low, looks=looks):
            looks.append(some)
            return low

        monkeypatch.setattr(_pair_counts.PairCounts, "_guess", guess)
        found = verify(embeddings, labels, false_accept_rates=RATES)
        assert len(looks) == 1
        np.testing.assert_array_equal(found.thresholds, expected.thresholds)
        np.testing.assert_array_equal(found.true_accept_rate, expected.true_accept_rate)


def test_pairs_name_rows():
    rows, _ = random_set(3, 12, 4, 3, "generic")
    generator = np.random.default_rng(0)
    pairs, same = generator.integers(0, 12, (40, 2)), np.arange(40) % 3 == 0
    named = {"false_accept_rates": RATES, "folds": None}
    found = verify_pairs(rows, rows, same, pairs=pairs, **named)
    expected = verify_pairs(rows[pairs[:, 0]], rows[pairs[:, 1]], same, **named)
    np.testing.assert_array_equal(found.true_accept_rate, expected.true_accept_rate)
    assert found.eer_threshold == expected.eer_threshold
    assert (found.accuracy, found.accuracy_error) == (None, None)
    assert "accuracy" not in repr(found)


def test_curves_hold_what_was_asked_for():
    embeddings, labels = random_set(1, 1500, 16, 300, "generic")
    for size in (300, 1500):
        found = verify(embeddings[:size], labels[:size], false_accept_rates=(0.001, 0.01, 0.1))
        thresholds, far, tar = found.curve
        assert 50 < len(thresholds) <= 200
        assert (np.diff(far) > 0).all()
        assert (np.diff(tar) >= 0).all()
        assert (np.diff(thresholds) < 0).all()
        similarity = unit(embeddings[:size]) @ unit(embeddings[:size]).T
        same = labels[:size, None] == labels[:size]
        different, same = similarity[~same], similarity[same & ~np.eye(size, dtype=bool)]
        slack = 0 if size == 300 else 1e-5
        for parts, rates in ((different, far), (same, tar)):
            most, least = (np.array([np.mean(parts > t + shift) for t in thresholds]) for shift in (-slack, slack))
            assert (least - 1e-12 <= rates).all()
            assert (rates <= most + 1e-12).all()
        assert far[0] <= (0 if size == 300 else 1 / len(different))
        assert far[-1] > found.eer
    # Here no pair is counted twice.
    found = verify(embeddings[:200], labels[:200], embeddings[200:300], labels[200:300])
    assert found.curve.false_accept_rate[0] == 0


def test_templates_count_a_medium_once():
    rows = random_set(0, 9, 4, 3, "generic")[0]
    templates, media = list("bbbaaabcc"), [0, 0, 1, 0, 2, 2, 1, 5, 6]
    found, names = template_means(rows, templates, media)
    assert names.tolist() == ["a", "b", "c"]
    u = unit(rows)
    expected = [u[3] + (u[4] + u[5]) / 2, (u[0] + u[1]) / 2 + (u[2] + u[6]) / 2, u[7] + u[8]]
    np.testing.assert_allclose(found, unit(expected), atol=1e-6)
    np.testing.assert_allclose(template_means(rows, templates)[0][0], unit([u[3] + u[4] + u[5]])[0], atol=1e-6)
    assert found.dtype == np.float32
    with pytest.raises(ValueError, match="`templates` must have one entry for each of 9 rows"):
        template_means(rows, templates[:3])


def test_plots_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    for rows in (ROWS, np.ones((4, 3))):
        figure = verify(rows, [0, 0, 1, 1], false_accept_rates=0.5).plot(tmp_path / "one.png")
        assert (tmp_path / "one.png").stat().st_size > 5000
        assert "equal error rate" in figure.axes[1].get_title()
    verify_pairs(ROWS, ROWS[::-1], [0, 1, 1, 0], folds=2).plot()


def test_intervals_of_lists_are_those_of_all_pairs():
    embeddings, labels = random_set(2, 90, 5, 22, "generic")
    every = np.stack(np.nonzero(~np.eye(90, dtype=bool)), axis=1)
    same = labels[every[:, 0]] == labels[every[:, 1]]
    named = {"false_accept_rates": RATES, "interval": 0.9, "seed": 3}
    listed = verify_pairs(
        embeddings, embeddings, same, pairs=every, folds=None, classes=labels[every[:, 0]], **named
    )  # fmt: skip
    found = verify(embeddings, labels, **named)
    np.testing.assert_allclose(listed.intervals, found.intervals, atol=1e-12)
    np.testing.assert_array_equal(listed.true_accept_rate, found.true_accept_rate)
    with pytest.raises(ValueError, match="`classes` must have one entry for each of 8010 rows"):
        verify_pairs(embeddings, embeddings, same, pairs=every, classes=labels)
