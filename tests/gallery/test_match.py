"""Is the nearest row near enough? By one threshold, or one for each label."""

import dataclasses

import numpy as np
import pytest

import keras_epos

# Similarities of the queries to their nearest row: 1, 0.8 and 0.6.
QUERIES = np.array([[1, 0, 0], [0.6, 0.8, 0], [0, 0.5, 0.6]])
QUERIES[2] = [-0.8, 0, 0.6]


GENERATOR = np.random.default_rng(0)
CALIBRATED = keras_epos.calibrate(GENERATOR.normal(size=(200, 4)), np.arange(200) % 50, false_accept_rate=0.5)


def calibrated(value, per_class=None):
    return dataclasses.replace(CALIBRATED, value=value, per_class=per_class)


def gallery(threshold):
    made = keras_epos.Gallery(threshold=threshold)
    made.add(np.eye(3), ["a", "b", "c"], ["red", "green", "blue"], [{"side": "left"}, {}, {}])
    return made


@pytest.mark.parametrize(
    ("threshold", "labels"),
    [
        (0.9, ["red", "unknown", "unknown"]),
        (0.7, ["red", "green", "unknown"]),
        (-1, ["red", "green", "blue"]),
        (calibrated(0.7), ["red", "green", "unknown"]),
        (calibrated(0.7, {"green": 0.9, "blue": 0.5}), ["red", "unknown", "blue"]),
    ],
)
def test_labels_of_what_is_accepted(threshold, labels):
    matches = gallery(threshold).match(QUERIES)
    assert matches.labels.tolist() == labels
    assert matches.accepted.tolist() == [label != "unknown" for label in labels]
    assert matches.ids.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(matches.similarity, [1, 0.8, 0.6], atol=1e-7)
    assert len(matches) == 3


def test_the_threshold_itself_is_accepted():
    made = gallery(0.5)
    made.threshold = float(made.search(QUERIES, 1).similarity[1, 0])
    assert made.match(QUERIES).accepted.tolist() == [True, True, False]
    made.threshold = np.nextafter(made.threshold, 1)
    assert made.match(QUERIES).accepted.tolist() == [True, False, False]


def test_where():
    matches = gallery(0.55).match(QUERIES, where={"side": "left"})
    assert matches.labels.tolist() == ["red", "red", "unknown"]
    assert matches.ids.tolist() == ["a", "a", "a"]
    matches = gallery(-1).match(QUERIES, where={"side": "right"})
    assert matches.labels.tolist() == ["unknown"] * 3
    assert matches.ids.tolist() == [None] * 3


def test_without_labels():
    made = keras_epos.Gallery(threshold=0.7)
    made.add(np.eye(3), ["a", "b", "c"])
    assert made.match(QUERIES).labels.tolist() == [None, None, "unknown"]


def test_thresholds_that_are_none():
    for wrong in ("0.5", np.nan, True, calibrated(3), calibrated(0.5, {"red": 7})):
        made = gallery(0.5)
        with pytest.raises(ValueError, match="must be a cosine similarity in"):
            made.threshold = wrong
        assert made.threshold == 0.5
