"""Faults that were put into an evaluation are found, each by its name, and no others."""

import numpy as np
import pytest

from keras_epos.retrieval import inspect

ROWS = np.random.default_rng(0).normal(size=(40, 32))
LABELS = np.repeat(np.arange(10), 4)
FRESH = np.random.default_rng(1).normal(size=(30, 32))


def found(*arguments, **named):
    return {finding.name: finding.rows.tolist() for finding in inspect(*arguments, **named)}


def test_nothing_is_found_where_nothing_is_wrong():
    assert found(ROWS, LABELS, train=FRESH, train_labels=np.full(30, 99)) == {}
    assert found(ROWS[::2], LABELS[::2], ROWS[1::2], LABELS[1::2]) == {}


def test_copies_and_near_copies():
    rows = ROWS.copy()
    rows[1] = 3 * rows[0]
    rows[5] = rows[9]
    rows[12] = rows[13] + 0.05 * FRESH[0]
    # Row 15 is nearest to the two copies of different classes.
    wanted = {"copies": [0, 1], "copies_of_another_class": [5, 9], "ties": [15]}
    assert found(rows, LABELS) == wanted | {"near_copies": [12, 13]}
    assert found(rows, LABELS, near=0.9999) == wanted
    assert found(rows[:2], LABELS[:2], rows[1:4], LABELS[1:4])["copies"] == [0, 1]


def test_ties_of_two_classes():
    rows = ROWS.copy()
    rows[20] = rows[24] = rows[0] + 0.8 * FRESH[1]
    assert found(rows[:4], LABELS[:4], rows[4:], LABELS[4:])["ties"] == [0]


def test_what_cannot_be_judged():
    rows = ROWS.copy()
    rows[7] = 0
    labels = np.where(np.arange(40) == 3, 77, LABELS)
    result = found(rows, labels)
    assert (result["zeros"], result["no_reference"]) == ([7], [3])
    assert found(1 + 0.01 * ROWS, LABELS, near=0.9999999)["one_point"] == list(range(40))


def test_leaks_from_training():
    train = FRESH.copy()
    train[3], train[4] = ROWS[8], ROWS[11] + 0.05 * FRESH[5]
    result = found(ROWS, LABELS, train=train, train_labels=np.where(np.arange(30) == 9, 6, 50))
    assert result == {
        "classes_in_training": [24, 25, 26, 27],
        "copies_in_training": [8],
        "near_copies_in_training": [11],
    }
    (finding,) = inspect(ROWS, LABELS, train_labels=["6"] if LABELS.dtype.kind == "U" else [6])
    assert finding.message == "4 of 40 queries are of classes that the model was trained on."


def test_what_does_not_fit_is_told():
    with pytest.raises(ValueError, match="`gallery_labels` must be given with `gallery`"):
        inspect(ROWS, LABELS, ROWS)
    with pytest.raises(ValueError, match="`train` must have the 32 columns of `queries`"):
        inspect(ROWS, LABELS, train=ROWS[:, :3])
    with pytest.raises(ValueError, match="`near` must be a cosine similarity"):
        inspect(ROWS, LABELS, near=1)
