"""What the study says of served answers."""

import answers
import numpy as np
import pytest

OWN = ["known/a/1.jpg", "known/a/2.jpg", "known/b/3.jpg", "known/b/4.jpg"]


def told(capsys, recall, accepted):
    """The first query has a copy, so it comes second; the last one finds a wrong class, and the third is refused."""
    ids = [[OWN[1], OWN[0]], [OWN[1], OWN[0]], [OWN[2], OWN[3]], [OWN[3], OWN[0]]]
    labels = [["a", "a"], ["a", "a"], ["b", "b"], ["b", "a"]]
    similarities = np.array([[1, 1], [1, 1], [1, 0.4], [1, 0.8]])
    found = {"ids": np.array(ids), "labels": np.array(labels), "similarities": similarities, "valid": np.ones(4, bool)}
    threshold = {"value": 0.5, "wanted": 0.2, "false_accept_interval": [0.1, 0.3]}
    matched = {"accepted": np.arange(10) < accepted, "valid": np.ones(10, bool)}
    answers.report(threshold, {"recall@1": recall}, OWN, found, matched)
    return capsys.readouterr().out


def test_the_report_tells_what_was_found(capsys):
    printed = told(capsys, 0.75, 2)
    assert "Recall@1: 0.75 by search_bytes, 0.75 by keras-epos evaluate: the same" in printed
    assert "Accepted by match_bytes: 20.00%, within the interval" in printed
    assert "Known photographs: 50.00% found, 25.00% refused, 25.00% misidentified" in printed


@pytest.mark.parametrize(("recall", "accepted", "words"), [(0.5, 2, "evaluate: NOT"), (0.75, 4, "40.00%, NOT within")])
def test_the_report_tells_what_was_not_kept(recall, accepted, words, capsys):
    assert words in told(capsys, recall, accepted)


def test_halves_are_of_classes_and_drawn_anew():
    labels = np.repeat(np.arange(10), 3)
    first, second = answers.half_of(labels, 0), answers.half_of(labels, 1)
    assert first.sum() == second.sum() == 15
    assert (first.reshape(10, 3).sum(axis=1) % 3 == 0).all()
    assert (first != second).any()
