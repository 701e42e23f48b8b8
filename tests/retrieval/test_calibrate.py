"""Thresholds against loops in float64, and their intervals against a law that is known."""

import json
import sys
import warnings

import keras
import numpy as np
import pytest
from brute_force import random_set, unit
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_epos import Threshold, calibrate
from keras_epos.retrieval import TIE
from keras_epos.retrieval._class_draws import NUM_DRAWS, drawn, tally
from keras_epos.retrieval._classes import relate, sides
from keras_epos.retrieval._cuts import RIGHT, UNKNOWN, WRONG
from keras_epos.retrieval._rates import rates_of
from keras_epos.retrieval._searches import Searches, search

pytestmark = pytest.mark.filterwarnings("ignore:Only .* classes play the unknown one")
# JAX compiles each shape anew.
FEW = settings(max_examples=8 if keras.backend.backend() == "jax" else 40, deadline=None)
KINDS = ["generic", "grid", "copies", "collapsed"]

sets = st.builds(
    random_set,
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(40, 60),
    dim=st.integers(1, 9),
    classes=st.integers(2, 20),
    kind=st.sampled_from(KINDS),
)


def searches(queries, labels, gallery=None, gallery_labels=None):
    """How the searches end, one query at a time: lists of `(similarity, found class)` of unknown and known ones."""
    alone = gallery is None
    gallery, gallery_labels = (queries, labels) if alone else (gallery, gallery_labels)
    queries, gallery = unit(queries), unit(gallery)
    unknown, known = [], []
    for q, label in enumerate(labels):
        own, other = [(-2, None)], [(-2, None)]
        for r, reference in enumerate(gallery_labels):
            if not (alone and q == r):
                (own if reference == label else other).append((float(queries[q] @ gallery[r]), reference))
        own, other = max(own, key=lambda match: match[0]), max(other, key=lambda match: match[0])
        if own[0] > -2:
            known.append((own if own[0] - TIE > other[0] else other, label))
        if own[0] == -2 or alone:
            unknown.append((other, label))
    return unknown, known


def errors(unknown, known, threshold):
    """False-accept rate, identification rate and misidentified at a threshold."""
    rights = [match[1] == label for match, label in known]
    accepted = [match[0] >= threshold for match, _ in known]
    return (
        np.mean([match[0] >= threshold for match, _ in unknown]),
        np.mean([right and taken for right, taken in zip(rights, accepted, strict=True)]),
        np.mean([not right and taken for right, taken in zip(rights, accepted, strict=True)]),
    )


def precision_at(errors, unknown_share):
    far, right, wrong = errors
    accepted = (1 - unknown_share) * (right + wrong) + unknown_share * far
    return (1 - unknown_share) * right / accepted if accepted else 1.0


def steps(unknown, known):
    """All similarities that differ, rising. Between two of them any threshold does the same."""
    found = []
    for value in sorted(match[0] for match, _ in [*unknown, *known]):
        if not found or value > found[-1][-1] + TIE:
            found.append([value])
        else:
            found[-1].append(value)
    return [(values[0] + values[-1]) / 2 for values in found]


def assert_errors(threshold, unknown, known):
    far, right, wrong = errors(unknown, known, threshold.value)
    found = (threshold.false_accept_rate, threshold.identification_rate, threshold.misidentified)
    assert found == pytest.approx((far, right, wrong), abs=1e-12)
    assert threshold.false_reject_rate == pytest.approx(1 - right - wrong, abs=1e-12)
    assert threshold.precision == pytest.approx(precision_at((far, right, wrong), threshold.unknown_share), abs=1e-12)
    assert threshold.num_unknown == len(unknown)
    assert threshold.interval[0] <= threshold.value <= threshold.interval[1]
    assert threshold.false_accept_interval[0] <= far + 1e-12
    assert far - 1e-12 <= threshold.false_accept_interval[1]


def assert_smallest(arguments, goal, unknown, known, reaches, **named):
    """The threshold is the first of all steps that reaches the goal, or none does and it says so."""
    # Just below a step everything from it on is accepted.
    good = [step for step in steps(unknown, known) if reaches(errors(unknown, known, step - TIE))]
    if not good:
        with pytest.raises(ValueError, match=f"`{next(iter(goal))}` must be"):
            calibrate(*arguments, **goal, **named)
        return None
    threshold = calibrate(*arguments, **goal, **named)
    smaller = [step for step in steps(unknown, known) if step < good[0]]
    assert threshold.value == pytest.approx((smaller[-1] + good[0]) / 2 if smaller else -1, abs=1e-12)
    assert_errors(threshold, unknown, known)
    return threshold


def has_both(unknown, known):
    return len({label for _, label in unknown}) > 1 and bool(known)


@FEW
@given(sets, st.sampled_from([0.25, 0.4, 0.7, 0.95]), st.integers(1, 50))
def test_false_accepts_equal_brute_force(data, rate, block_size):
    unknown, known = searches(*data)
    if has_both(unknown, known):
        goal = {"false_accept_rate": rate}
        assert_smallest(data, goal, unknown, known, lambda e: e[0] <= rate + 1e-12, block_size=block_size)


@FEW
@given(sets, st.integers(20, 30), st.sampled_from([0.5, 0.7]))
def test_unknown_queries_of_a_gallery_equal_brute_force(data, num_queries, rate):
    (queries, gallery), (labels, gallery_labels) = (np.split(part, [num_queries]) for part in data)
    gallery, gallery_labels = gallery[gallery_labels % 2 == 0], gallery_labels[gallery_labels % 2 == 0]
    arguments = queries, labels, gallery, gallery_labels
    unknown, known = searches(*arguments) if len(gallery) else ([], [])
    if has_both(unknown, known) and len(unknown) * rate >= 10:
        assert_smallest(arguments, {"false_accept_rate": rate}, unknown, known, lambda e: e[0] <= rate + 1e-12)


@FEW
@given(sets, st.sampled_from([0.05, 0.3, 0.5, 0.7]), st.sampled_from([0.0, 0.2, 0.5, 0.9]))
def test_precision_equals_brute_force(data, precision, unknown_share):
    unknown, known = searches(*data)
    if not has_both(unknown, known):
        return
    sizes = len(unknown), len(known), len(known)

    def reaches(found):
        accepted = round(sum(share * size for share, size in zip(found, sizes, strict=True)))
        is_enough = accepted >= 10 / (1 - precision) - 1e-6
        return is_enough and precision_at(found, unknown_share) >= precision - 1e-9

    assert_smallest(data, {"precision": precision}, unknown, known, reaches, unknown_share=unknown_share)


def test_precision_with_a_gallery_equals_brute_force():
    # Many more known queries than unknown ones.
    rows, labels = families(6, classes=20, size=15, spread=0.9)
    is_gallery = (np.arange(300) % 2 == 0) & (labels < 16)
    arguments = rows[~is_gallery], labels[~is_gallery], rows[is_gallery], labels[is_gallery]
    unknown, known = searches(*arguments)
    assert 0 < 1.5 * len(unknown) < len(known)

    def reaches(found):
        accepted = round(found[0] * len(unknown) + (found[1] + found[2]) * len(known))
        return accepted >= 50 and precision_at(found, 0.5) >= 0.8 - 1e-9

    threshold = assert_smallest(arguments, {"precision": 0.8}, unknown, known, reaches)
    assert threshold.misidentified > 0


@pytest.mark.parametrize("kind", KINDS)
def test_large_galleries_take_the_short_cuts_and_stay_exact(kind):
    data = random_set(3, 300, 16, 60, kind)
    unknown, known = searches(*data)
    threshold = assert_smallest(
        data, {"false_accept_rate": 0.1}, unknown, known, lambda e: e[0] <= 0.1 + 1e-12, block_size=18
    )
    assert (threshold is None) == (kind in ("copies", "collapsed"))


def test_the_curve_equals_brute_force():
    data = random_set(4, 300, 16, 60, "generic")
    curve = calibrate(*data, false_accept_rate=0.1).curve
    unknown, known = searches(*data)
    assert len(curve.thresholds) > 80
    assert curve.false_accept_rate[0] < 0.01
    assert curve.false_accept_rate[-1] == 1
    assert (np.diff(curve.false_accept_rate) > 0).all()
    assert (np.diff(curve.thresholds) < 0).all()
    for threshold, far, right in zip(*curve, strict=True):
        assert errors(unknown, known, threshold)[:2] == pytest.approx((far, right), abs=1e-12)


def families(seed, classes=40, size=12, spread=0.5):
    """Classes around random centers: their law is known as well as one has patience to draw from it."""
    generator = np.random.default_rng([seed, 1])
    labels = np.repeat(np.arange(classes), size)
    return generator.normal(size=(classes, 16))[labels] + spread * generator.normal(size=(len(labels), 16)), labels


def nearest_others(rows, labels):
    similarity = unit(rows) @ unit(rows).T
    return np.where(labels[:, None] == labels, -1, similarity).max(axis=1)


@pytest.mark.backend("tensorflow", reason="hundreds of galleries, whose statistics are NumPy's")
def test_intervals_hold_the_true_rate():
    law = np.sort(np.concatenate([nearest_others(*families(seed)) for seed in range(1000, 1200)]))
    held, held_by_queries_alone = [], []
    for seed in range(120):
        rows, labels = families(seed)
        found = calibrate(rows, labels, false_accept_rate=0.05)
        true_rate = 1 - np.searchsorted(law, found.value) / len(law)
        held.append(found.false_accept_interval[0] <= true_rate <= found.false_accept_interval[1])
        accepted = tally(labels, 40, nearest_others(rows, labels) >= found.value)
        low, high = np.quantile(drawn([accepted], 40, 0)[0] / len(labels), [0.025, 0.975])
        held_by_queries_alone.append(low <= true_rate <= high)
    assert np.mean(held) >= 0.93
    assert np.mean(held_by_queries_alone) <= 0.85


@pytest.mark.backend("tensorflow", reason="hundreds of galleries, whose statistics are NumPy's")
def test_intervals_for_a_fixed_gallery_hold_the_true_rate():
    gallery, gallery_labels = families(0, classes=30)
    unit_gallery = unit(gallery)

    def unknown(seed, classes):
        rows, labels = families(seed, classes)
        return rows, 1000 + labels, (unit(rows) @ unit_gallery.T).max(axis=1)

    law = np.sort(unknown(10**6, 20_000)[2])
    known = gallery + 0.1
    held = []
    for seed in range(1, 101):
        rows, labels, _ = unknown(seed, 40)
        queries, labels = np.concatenate([rows, known]), np.concatenate([labels, gallery_labels])
        found = calibrate(queries, labels, gallery, gallery_labels, false_accept_rate=0.1)
        true_rate = 1 - np.searchsorted(law, found.value) / len(law)
        held.append(found.false_accept_interval[0] <= true_rate <= found.false_accept_interval[1])
    assert np.mean(held) >= 0.9


def test_twice_the_gallery_has_at_most_twice_the_rate():
    small = np.concatenate([nearest_others(*families(seed, classes=31)) for seed in range(60)])
    large = np.concatenate([nearest_others(*families(seed, classes=61)) for seed in range(100, 160)])
    for threshold in np.quantile(small, [0.8, 0.9, 0.97]):
        rate, of_large = np.mean(small >= threshold), np.mean(large >= threshold)
        assert 1.3 * rate < of_large < 2.05 * rate


def test_draws_are_sums_over_drawn_classes():
    generator = np.random.default_rng(0)
    labels, matched = generator.integers(0, 6, (2, 50))
    now, without = generator.integers(0, 2, (2, 50)).astype(bool)
    alone, pairs = drawn([tally(labels, 6, now), tally(labels, 6, now, without, matched)], 6, seed=3)
    times = np.random.default_rng(3).multinomial(6, np.full(6, 1 / 6), NUM_DRAWS)
    for draw in range(NUM_DRAWS):
        w, v = times[draw, labels], times[draw, matched]
        assert alone[draw] == np.sum(w * now)
        assert pairs[draw] == pytest.approx(np.sum(w * np.where(now == without, now, v * now + (1 - v) * without)))
    assert tally(labels, 6, now, without, matched).total() == now.sum()


def test_draws_do_not_depend_on_how_many_fit_into_memory(monkeypatch):
    labels = np.arange(30) % 7
    before = drawn([tally(labels, 7, labels < 3)], 7, seed=0)
    monkeypatch.setattr("keras_epos._rows.CHUNK", 100)
    np.testing.assert_array_equal(drawn([tally(labels, 7, labels < 3)], 7, seed=0), before)


def test_a_third_class_that_accepts_as_well_is_seen():
    # Of three classes side by side each is taken for another whether or not the nearest is there: nothing varies.
    labels = np.repeat(np.arange(4), 5)
    ones, far = np.ones(20), np.full(20, -1.0)
    found = Searches(labels, ones, 0.9 * ones, (labels + 1) % 4, 0.8 * ones, (labels + 2) % 4, ones > 0)
    arguments = {"has_gallery": False, "unknown_share": 0.5, "interval": 0.95, "seed": 0}
    rates = rates_of(found, np.full(4, 0.5), **arguments)
    assert rates.false_accept_interval == (1, 1)
    alone = rates_of(found._replace(third=far), np.full(4, 0.5), **arguments)
    assert alone.false_accept_interval[0] == 0
    fixed = rates_of(found._replace(third=far), np.full(4, 0.5), **arguments | {"has_gallery": True})
    assert fixed.false_accept_interval == (1, 1)
    # The third class has a threshold of its own.
    third = rates_of(found, np.array([0.5, 0.5, 0.85, 0.5]), **arguments)
    assert 0 < third.false_accept_interval[0] < 1


def test_a_match_takes_the_threshold_of_the_class_it_is_matched_to():
    labels, matched = np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0])
    own, other = np.array([0.95, 0.8, 0.8, 0.6]), np.array([0.8, 0.6, 0.85, 0.95])
    found = Searches(labels, own, other, matched, other, matched, np.ones(4, bool))
    false_accepts, right, wrong = found.accepted(np.array([0.9, 0.7]))
    assert false_accepts.tolist() == [True, False, False, True]
    assert right.tolist() == [True, False, False, False]
    assert wrong.tolist() == [False, False, False, True]
    third = found._replace(third=np.full(4, 0.75), third_matched=labels).without_matched()
    assert third.accepted(np.array([0.9, 0.7]))[0].tolist() == [False, False, True, True]


@pytest.mark.parametrize(("rows", "classes"), [(60, 5), (300, 60)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_third_class_equals_brute_force(kind, rows, classes):
    embeddings, labels = random_set(5, rows, 8, classes, kind)
    queries, gallery = sides(embeddings, None, None, None)
    found = search(relate("equal", queries, gallery, labels, None), 18, has_gallery=False)
    order = np.argsort(labels, kind="stable")
    similarity, labels = (unit(embeddings) @ unit(embeddings).T)[np.ix_(order, order)], labels[order]
    np.testing.assert_array_equal(found.labels, labels)
    similarity[labels[:, None] == labels] = -2
    np.testing.assert_allclose(found.other, similarity.max(axis=1), atol=1e-12)
    at_matched = np.where(found.matched[:, None] == labels, similarity, -2)
    np.testing.assert_allclose(at_matched.max(axis=1), found.other, atol=1e-12)
    similarity[found.matched[:, None] == labels] = -2
    np.testing.assert_allclose(found.third, similarity.max(axis=1), atol=1e-12)
    at_third = np.where(found.third_matched[:, None] == labels, similarity, -2)
    np.testing.assert_allclose(at_third.max(axis=1), found.third, atol=1e-12)


def test_searches_end_with_the_class_that_is_nearest():
    labels, matched, known = np.array([0, 0, 1]), np.array([1, 2, 2]), np.array([0.9, 0.5, -np.inf])
    other = np.array([0.8, 0.6, 0.7])
    similarity, kind, found = Searches(labels, known, other, matched, other, matched, np.array([0, 1, 1], bool)).ends()
    assert similarity.tolist() == [0.6, 0.7, 0.9, 0.6]
    assert kind.tolist() == [UNKNOWN, UNKNOWN, RIGHT, WRONG]
    assert found.tolist() == [2, 2, 0, 2]


def test_intervals_are_percentiles_of_the_draws():
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(30), 10)
    matched = (labels + generator.integers(1, 30, 300)) % 30
    other, third = generator.random((2, 300)) * [[1], [0.8]]
    found = Searches(labels, other, other, matched, np.minimum(other, third), matched, other >= 0)
    rates = rates_of(found, np.full(30, 0.7), has_gallery=False, unknown_share=0.5, interval=0.9, seed=2)
    accepted = tally(labels, 30, other >= 0.7, np.minimum(other, third) >= 0.7, matched)
    draws = np.divide(*drawn([accepted, tally(labels, 30, other >= 0)], 30, seed=2))
    assert rates.false_accept_interval == pytest.approx(np.quantile(draws, [0.05, 0.95]))


def test_no_false_accepts_are_not_a_rate_of_zero():
    labels = np.repeat(np.arange(20), 4)
    threshold = calibrate(np.eye(20)[labels], labels, precision=0.8)
    assert threshold.value == pytest.approx(0.5)
    assert threshold.false_accept_rate == threshold.misidentified == threshold.false_reject_rate == 0
    assert threshold.false_accept_interval == (0, pytest.approx(1 - 0.025 ** (1 / 20)))
    assert threshold.precision_interval == (pytest.approx(0.025 ** (1 / 20)), 1)
    assert threshold.num_classes == 20


def test_wider_confidence_gives_wider_intervals_and_seeds_repeat():
    data = families(0)
    narrow, wide = (calibrate(*data, false_accept_rate=0.05, interval=share) for share in (0.5, 0.99))
    for name in ("interval", "false_accept_interval", "precision_interval"):
        (low, high), (lower, higher) = getattr(narrow, name), getattr(wide, name)
        assert lower < low <= high < higher
    assert calibrate(*data, false_accept_rate=0.05, interval=0.5, seed=0) == narrow
    assert calibrate(*data, false_accept_rate=0.05, interval=0.5, seed=1) != narrow


def test_threshold_interval_meets_the_curve():
    data = families(0)
    threshold = calibrate(*data, false_accept_rate=0.05)
    others = nearest_others(*data)
    low, high = threshold.interval
    assert low < threshold.value < high
    far_low, far_high = threshold.false_accept_interval
    step = 1.01 / len(others)
    assert far_high - step <= np.mean(others >= low) <= far_high
    assert far_low - step <= np.mean(others >= high) <= far_low
    precise = calibrate(*data, precision=0.9)
    assert precise.interval[0] < precise.value < precise.interval[1] <= 1


@pytest.mark.parametrize("with_gallery", [False, True])
def test_per_class_equals_brute_force(with_gallery):
    rows, labels = families(0, classes=8, size=40)
    gallery = (rows[::2][:100], labels[::2][:100]) if with_gallery else ()
    threshold = calibrate(rows, labels, *gallery, false_accept_rate=0.25, per_class=True)
    unknown, known = searches(rows, labels, *gallery)
    assert 0 < len(threshold.per_class) < 8
    for label in range(8):
        coming = [match[0] for match, _ in unknown if match[1] == label]
        assert (label in threshold.per_class) == (len(coming) * 0.25 >= 10)
        assert threshold.of(label) == threshold.per_class.get(label, threshold.value)
        if label in threshold.per_class:
            others = [match[0] for match, _ in known if match[1] == label]
            good = [step for step in {*coming, *others} if np.mean(np.array(coming) >= step) <= 0.25]
            assert max(v for v in [*coming, *others] if v < min(good)) < threshold.of(label) < min(good)

    def is_taken(match):
        return match[0] >= threshold.of(match[1])

    assert threshold.false_accept_rate == pytest.approx(np.mean([is_taken(match) for match, _ in unknown]))
    right = [match[1] == label and is_taken(match) for match, label in known]
    assert threshold.identification_rate == pytest.approx(np.mean(right))
    assert threshold.value == calibrate(rows, labels, *gallery, false_accept_rate=0.25).value


def test_per_class_for_a_precision():
    rows, labels = families(0, classes=8, size=40)
    threshold = calibrate(rows, labels, precision=0.8, per_class=True)
    unknown, known = searches(rows, labels)
    assert threshold.per_class
    for label, value in threshold.per_class.items():
        coming = [[pair for pair in part if pair[0][1] == label] for part in (unknown, known)]
        assert precision_at(errors(*coming, value), 0.5) >= 0.8
        assert sum(match[0] >= value for part in coming for match, _ in part) >= 50


@pytest.mark.parametrize("name", [int, str, lambda label: str(label).encode(), np.uint8])
def test_config_survives_json(name):
    rows, labels = families(0, classes=8, size=40)
    named = np.array([name(label) for label in labels])
    threshold = calibrate(rows, named, false_accept_rate=0.25, per_class=True)
    restored = Threshold.from_config(json.loads(json.dumps(threshold.get_config(), allow_nan=False)))
    assert restored == threshold
    assert repr(restored) == repr(threshold)
    kind = int if name in (int, np.uint8) else str
    assert {type(label) for label in restored.per_class} == {kind}
    own = calibrate(rows, labels, false_accept_rate=0.25, per_class=True).per_class
    assert restored.per_class == {kind(label): value for label, value in own.items()}
    np.testing.assert_array_equal(restored.curve.thresholds, threshold.curve.thresholds)
    with pytest.raises(ValueError, match=r"`config` must be.*missing=\['value'\], unknown=\['valeu'\]"):
        Threshold.from_config({"valeu" if key == "value" else key: v for key, v in threshold.get_config().items()})


def test_rows_of_one_photograph_are_left_out():
    rows, labels = families(0, size=4)
    twice, ids = np.repeat(rows, 2, axis=0), np.repeat(np.arange(len(rows)), 2)
    once = calibrate(rows, labels, false_accept_rate=0.1)
    again = calibrate(twice, np.repeat(labels, 2), false_accept_rate=0.1, ids=ids)
    assert again.value == pytest.approx(once.value)
    assert again.identification_rate == pytest.approx(once.identification_rate)
    assert calibrate(twice, np.repeat(labels, 2), false_accept_rate=0.1).identification_rate > once.identification_rate


def test_it_reads_well():
    threshold = calibrate(*families(0), false_accept_rate=0.05)
    first, second, third = repr(threshold).splitlines()
    assert first.startswith(f"Threshold {threshold.value:.4f} (")
    assert first.endswith("for a false-accept rate of 5 %")
    assert "unknown queries: 5 % accepted (" in second
    assert third == "  480 queries of 40 classes, 480 of them as unknown; intervals of 95 %"
    assert "for a precision of 90 %, 0 classes with a thr" in repr(
        calibrate(*families(0), precision=0.9, per_class=True)
    )


@pytest.mark.parametrize("goal", [{"false_accept_rate": 0.05}, {"precision": 0.9}])
def test_plot(goal, tmp_path):
    pytest.importorskip("matplotlib")
    threshold = calibrate(*families(0), **goal)
    figure = threshold.plot(tmp_path / "threshold.png")
    assert (tmp_path / "threshold.png").stat().st_size > 10_000
    left, right = figure.axes
    assert left.get_xscale() == right.get_yscale() == "log"
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        labels = np.repeat(np.arange(20), 4)
        calibrate(np.eye(20)[labels], labels, precision=0.8).plot(tmp_path / "perfect.png")


def test_plot_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        calibrate(*families(0), false_accept_rate=0.05).plot()


ROWS, LABELS = families(0)
REFUSED = {
    "no goal": ({}, "`false_accept_rate` or `precision` must be given"),
    "two goals": ({"false_accept_rate": 0.1, "precision": 0.9}, "only one of them"),
    "rate": ({"false_accept_rate": 0}, r"`false_accept_rate` must be a share in \(0, 1\)"),
    "precision": ({"precision": 1}, r"`precision` must be a share in \(0, 1\)"),
    "share": ({"precision": 0.9, "unknown_share": 1}, r"`unknown_share` must be a share in \[0, 1\)"),
    "interval": ({"false_accept_rate": 0.1, "interval": 95}, "`interval` must be"),
    "seed": ({"false_accept_rate": 0.1, "seed": None}, "`seed` must be an integer"),
    "few": ({"false_accept_rate": 1e-3}, r"at least 0.0208 for 480 unknown queries.*pass 10000 unknown queries"),
    "few accepted": ({"precision": 0.999}, r"at most 0.99 for 480 known and 480 unknown queries.*pass 10000 queries"),
    "not reached": ({"precision": 0.98, "unknown_share": 0.99}, "reaches it"),
    "one class": ({"labels": 0 * LABELS, "false_accept_rate": 0.1}, "two classes or more, and 20 .*: 1 of 1 classes"),
    "singles": ({"labels": np.arange(480), "false_accept_rate": 0.1}, "480 queries of 480 classes without any"),
    "nan": ({"embeddings": ROWS + np.nan, "false_accept_rate": 0.1}, "`embeddings` must be finite"),
    "collapsed": ({"embeddings": 0 * ROWS + 1, "false_accept_rate": 0.1}, "must be at least 1 .*Look for copies"),
    "swapped": ({"embeddings": LABELS, "labels": ROWS, "false_accept_rate": 0.1}, "The order is embeddings"),
    "half a gallery": ({"gallery_labels": LABELS, "false_accept_rate": 0.1}, "`gallery_labels` must be given with"),
    "all known": (
        {"gallery_embeddings": ROWS, "gallery_labels": LABELS, "false_accept_rate": 0.1},
        "two classes or more that are not in the gallery.*0 of 40 classes. Without a gallery",
    ),
    "none known": (
        {"gallery_embeddings": ROWS, "gallery_labels": LABELS + 100, "false_accept_rate": 0.1},
        "at least one query a reference",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case):
    arguments, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        calibrate(**{"embeddings": ROWS, "labels": LABELS, **arguments})


def test_exactly_ten_expected_errors_are_enough():
    assert calibrate(ROWS[:400], LABELS[:400], false_accept_rate=10 / 400).num_unknown == 400
    with pytest.raises(ValueError, match="pass 401 unknown"):
        calibrate(ROWS[:400], LABELS[:400], false_accept_rate=0.02499)


def test_few_classes_warn():
    rows, labels = families(0, classes=19)
    with pytest.warns(UserWarning, match="Only 19 classes play the unknown one"):
        calibrate(rows, labels, false_accept_rate=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        calibrate(ROWS, LABELS, false_accept_rate=0.1)
