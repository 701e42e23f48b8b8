"""Open-set measures against loops over the searches of test_calibrate."""

import keras
import numpy as np
import pytest
from brute_force import random_set
from test_calibrate import searches, steps

from keras_epos.retrieval import TIE, open_set

CASES = 10 if keras.backend.backend() == "jax" else 100
RATES = (0.05, 0.3)


def expected(unknown, known):
    """All measures, from the lists of `(similarity, found class)` and the class of each query."""
    result = {}
    for rate in RATES:
        places = steps(unknown, known)
        good = [t for t in places if np.mean([match[0] >= t - TIE for match, _ in unknown]) <= rate + 1e-12]
        right = [match[1] == label and match[0] >= good[0] - TIE for match, label in known] if good else [0]
        result[f"dir@{rate}"] = np.mean(right)
    result["auroc"] = np.mean([k[0] - TIE > u[0] for k, _ in known for u, _ in unknown])
    answers = [(match[0], False) for match, _ in unknown] + [(match[0], match[1] == label) for match, label in known]
    # Equal to the last digits first, then wrong ones first.
    answers.sort(key=lambda answer: (-round(answer[0], 11), answer[1]))
    hits = np.cumsum([right for _, right in answers])
    result["gap"] = sum(hits[i] / (i + 1) for i, (_, right) in enumerate(answers) if right) / len(known)
    return result | {"known": len(known), "unknown": len(unknown)}


@pytest.mark.parametrize("has_gallery", [False, True])
def test_open_sets_equal_brute_force(has_gallery):
    seen = 0
    for seed in range(CASES):
        data = random_set(seed, 30, 2 + seed % 5, 9, ["generic", "grid", "copies"][seed % 3])
        if has_gallery:
            (queries, gallery), (labels, gallery_labels) = (np.split(part, [15]) for part in data)
            kept = gallery_labels % 2 == 0
            data = queries, labels, gallery[kept], gallery_labels[kept]
        unknown, known = searches(*data)
        if not unknown or not known:
            continue
        seen += 1
        found = open_set(*data, false_alarm_rates=RATES, block_size=4)
        wanted = expected(unknown, known)
        assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=1e-12)
        for rate in RATES:
            accepted = np.mean([match[0] >= found[f"threshold@{rate}"] for match, _ in unknown])
            assert accepted <= rate + 1e-12
    assert seen > 0.8 * CASES


def test_copies_of_references_leave_no_threshold():
    found = open_set(np.ones((4, 2)), [0, 0, 1, 2], np.ones((1, 2)), [0], false_alarm_rates=0.1)
    gap = (1 / 3 + 2 / 4) / 2
    assert found == {"dir@0.1": 0, "threshold@0.1": np.inf, "auroc": 0, "gap": gap, "known": 2, "unknown": 2}


def test_both_kinds_are_needed():
    rows = np.eye(3)
    for labels, message in (([0, 1, 2], "3 of the former, 0 of the latter"), ([5, 6, 7], "0 of the former, 3")):
        with pytest.raises(ValueError, match=message):
            open_set(rows, labels, rows, [0, 1, 2])
    with pytest.raises(ValueError, match="`false_alarm_rates` must be shares"):
        open_set(rows, [0, 1, 2], rows, [0, 1, 2], false_alarm_rates=5)
