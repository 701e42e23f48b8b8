"""The published formulas on seven points of the unit circle: numbers worked out apart from this code."""

import numpy as np
import pytest
from loss_cases import numpy, tensor

from keras_epos import reference
from keras_epos.losses import (
    BinomialDevianceLoss,
    ContrastiveLoss,
    EasyPositiveHardNegativeLoss,
    EasyPositiveTripletLoss,
    GeneralizedLiftedStructureLoss,
    MarginLoss,
    MultiSimilarityLoss,
    NPairsLoss,
    NTXentLoss,
    TripletLoss,
)
from keras_epos.mining import DistanceWeighted, Easy, Hard, SemiHard

ANGLES = np.deg2rad([0, 20, 76, 100, 130, 205, 303])
EMBEDDINGS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
LABELS = np.array([0, 0, 0, 1, 1, 2, 2])
PAPER = {"alpha": 2.0, "beta": 50.0, "base": 1.0, "epsilon": 0.1}
BEFORE = {"positives": "easy", "positives_chosen": "before_mining"}

MEANS = {
    "EPHN": (NTXentLoss(0.1, "easy", "hard", dtype="float64"), 2.206895),
    "EPSHN": (NTXentLoss(0.1, "easy", SemiHard("skip"), dtype="float64"), 0.049910),
    "easy triplet, all negatives": (
        TripletLoss(0.2, "euclidean", "easy", "all", average_over="valid", dtype="float64"),
        0.096562,
    ),
    "easy triplet, active": (TripletLoss(0.2, "euclidean", "easy", "all", dtype="float64"), 0.441428),
    "easy positive triplet, active": (
        EasyPositiveTripletLoss(0.2, "euclidean", negatives="all", dtype="float64"),
        0.441428,
    ),
    "all triplets": (TripletLoss(0.2, "euclidean", "all", "all", average_over="valid", dtype="float64"), 0.116042),
    "all triplets, active": (TripletLoss(0.2, "euclidean", "all", "all", dtype="float64"), 0.510584),
    "margin": (MarginLoss(0.2, 1.2, negatives="all", dtype="float64"), 0.389312),
    "margin, easy": (MarginLoss(0.2, 1.2, positives="easy", negatives="all", dtype="float64"), 0.411881),
    "multi-similarity": (MultiSimilarityLoss(dtype="float64"), 0.538857),
    "multi-similarity, active": (MultiSimilarityLoss(average_over="active", dtype="float64"), 0.754400),
    "multi-similarity, paper": (MultiSimilarityLoss(**PAPER, dtype="float64"), 0.669940),
    "multi-similarity, easy before": (MultiSimilarityLoss(**BEFORE, dtype="float64"), 0.416261),
    "multi-similarity, easy before, paper": (
        MultiSimilarityLoss(**PAPER, **BEFORE, dtype="float64"),
        0.486929,
    ),
    "EPHN as released": (EasyPositiveHardNegativeLoss(dtype="float64"), 0.922128),
    "EPSHN as released": (EasyPositiveHardNegativeLoss(semi_hard=True, dtype="float64"), 0.020220),
}

ANCHORS = {
    "EPHN": (
        NTXentLoss(0.1, "easy", "hard", reduction=None, dtype="float64"),
        [0.019062, 0.000787, 3.572027, 0.958713, 0.060050, 3.998436, 6.839193],
    ),
    "EPSHN": (
        NTXentLoss(0.1, "easy", SemiHard("skip"), reduction=None, dtype="float64"),
        [0.019062, 0.000787, 0.000007, 0.000984, 0.060050, 0.264103, 0.004381],
    ),
    "N-pair with easy positives": (
        NTXentLoss(1.0, "easy", "all", reduction=None, dtype="float64"),
        [0.860962, 0.865429, 1.398217, 1.222264, 1.091196, 1.584606, 1.772499],
    ),
    "N-pairs of unit rows with easy positives": (
        NPairsLoss(positives="easy", reduction=None, dtype="float64"),
        [0.860962, 0.865429, 1.398217, 1.222264, 1.091196, 1.584606, 1.772499],
    ),
    "multi-similarity": (
        MultiSimilarityLoss(reduction=None, dtype="float64"),
        [0.540597, 0, 1.048977, 0.609878, 0, 0.762017, 0.810531],
    ),
    "multi-similarity, paper": (
        MultiSimilarityLoss(**PAPER, reduction=None, dtype="float64"),
        [0.857321, 0, 1.038073, 0.418298, 0, 1.187942, 1.187942],
    ),
    "multi-similarity, easy before": (
        MultiSimilarityLoss(**BEFORE, reduction=None, dtype="float64"),
        [0, 0, 0.731398, 0.609878, 0, 0.762017, 0.810531],
    ),
    "generalized lifted structure, cosine": (
        GeneralizedLiftedStructureLoss(0.5, "cosine", reduction=None, dtype="float64"),
        [1.913171, 1.720585, 2.478791, 1.373327, 1.182002, 1.855157, 2.086281],
    ),
    "binomial deviance": (
        BinomialDevianceLoss(reduction=None, dtype="float64"),
        [1.249134, 0.491431, 7.079652, 4.528119, 1.272985, 1.524033, 1.990811],
    ),
}


@pytest.mark.parametrize("name", MEANS)
def test_means(name):
    loss, expected = MEANS[name]
    assert float(numpy(loss(LABELS, EMBEDDINGS))) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ANCHORS)
def test_anchors(name):
    loss, expected = ANCHORS[name]
    np.testing.assert_allclose(numpy(loss(LABELS, EMBEDDINGS)), expected, atol=1e-6)


def test_drop_rule_of_the_released_code_of_ephn():
    # It keeps anchors whose positive and negative both have a positive similarity.
    ephn, epshn = numpy(ANCHORS["EPHN"][0](LABELS, EMBEDDINGS)), numpy(ANCHORS["EPSHN"][0](LABELS, EMBEDDINGS))
    assert ephn[:5].mean() == pytest.approx(0.922128, abs=1e-6)
    assert epshn[[0, 1, 3, 4]].mean() == pytest.approx(0.020220, abs=1e-6)


def selected(strategy, ease, mask, side="negatives", **options):
    options = {name: tensor(value) for name, value in options.items()}
    return numpy(strategy.select(tensor(ease), tensor(mask, "bool"), side, **options).indices)[:, 0].tolist()


def test_selected_references():
    similarity = reference.cosine(EMBEDDINGS)
    same = LABELS[:, None] == LABELS[None]
    positives, negatives = same & ~np.eye(7, dtype=bool), ~same
    easy = selected(Easy(), similarity, positives, "positives")
    nearest = np.take_along_axis(similarity, np.array(easy)[:, None], axis=1)
    assert easy == [1, 0, 1, 4, 3, 6, 5]
    np.testing.assert_allclose(
        nearest[:, 0], [0.939693, 0.939693, 0.559193, 0.866025, 0.866025, -0.139173, -0.139173], atol=1e-6
    )
    assert selected(Hard(), -similarity, negatives) == [6, 6, 3, 2, 2, 4, 0]
    assert selected(SemiHard(), -similarity, negatives, threshold=-nearest) == [6, 6, 5, 1, 2, 3, 2]


def test_only_one_anchor_has_a_negative_inside_the_semi_hard_window():
    loss = TripletLoss(0.2, "euclidean", "easy", SemiHard("skip"), dtype="float64")
    terms = loss.terms(tensor(LABELS, "int32"), tensor(EMBEDDINGS))
    assert numpy(terms.active).tolist() == [0, 0, 0, 0, 0, 1, 0]
    assert numpy(terms.total)[5] == pytest.approx(1.509419 - 1.586707 + 0.2, abs=1e-6)
    assert np.flatnonzero(numpy(loss.pair_weights(LABELS, EMBEDDINGS))[5]).tolist() == [3, 6]


@pytest.mark.parametrize(
    ("loss", "valid", "active"),
    [
        (TripletLoss(0.2, "euclidean", "easy", "all", dtype="float64"), 32, 7),
        (TripletLoss(0.2, "euclidean", "all", "all", dtype="float64"), 44, 10),
        (MarginLoss(0.2, 1.2, negatives="all", dtype="float64"), 42, 16),
        (MarginLoss(0.2, 1.2, positives="easy", negatives="all", dtype="float64"), 39, 14),
    ],
)
def test_numbers_of_terms(loss, valid, active):
    terms = loss.terms(tensor(LABELS, "int32"), tensor(EMBEDDINGS))
    assert numpy(terms.valid).sum() == valid
    assert numpy(terms.active).sum() == active


def test_pairs_that_multi_similarity_keeps_and_their_weights():
    loss = MultiSimilarityLoss(dtype="float64")
    weights = numpy(loss.pair_weights(LABELS, EMBEDDINGS))
    assert [np.flatnonzero(row < 0).tolist() for row in weights] == [[2], [], [0, 1], [4], [], [6], [5]]
    assert [np.flatnonzero(row > 0).tolist() for row in weights] == [[6], [], [3, 4], [2], [], [4], [0, 1]]
    assert -weights[0, 2] == pytest.approx(0.626249, abs=1e-6)
    assert weights[0, 6] == pytest.approx(0.856382, abs=1e-6)
    paper = numpy(MultiSimilarityLoss(**PAPER, dtype="float64").pair_weights(LABELS, EMBEDDINGS))
    assert -paper[0, 2] == pytest.approx(0.819972, abs=1e-6)
    assert paper[3, 2] == pytest.approx(0.013090, abs=1e-6)


def test_three_orders_of_easy_positives_and_mining():
    def pulled(order):
        loss = MultiSimilarityLoss(positives="easy", positives_chosen=order, dtype="float64")
        return [np.flatnonzero(row < 0).tolist() for row in numpy(loss.pair_weights(LABELS, EMBEDDINGS))]

    # Anchor 0: its easy positive 1 is too easy for the mining step, which leaves 2.
    assert pulled("before_mining")[0] == []
    assert pulled("instead_of_mining")[0] == [1]
    assert pulled("after_mining")[0] == [2]
    plain = numpy(MultiSimilarityLoss(reduction=None, dtype="float64")(LABELS, EMBEDDINGS))
    after = MultiSimilarityLoss(positives="easy", positives_chosen="after_mining", reduction=None, dtype="float64")
    assert numpy(after(LABELS, EMBEDDINGS))[0] == pytest.approx(plain[0], abs=1e-12)


@pytest.mark.parametrize(
    ("upper_cutoff", "expected"), [(None, [0.016270, 0.048288, 0.877129, 0.058313]), (1.4, [0, 0, 0, 1])]
)
def test_distance_weighted_probabilities(upper_cutoff, expected):
    similarity, negatives = reference.cosine(EMBEDDINGS)[:1], np.arange(7)[None] >= 3
    made = DistanceWeighted(0.5, upper_cutoff)
    weights = numpy(made.weights(tensor(similarity), tensor(negatives, "bool"), dim=8))[0]
    np.testing.assert_allclose(weights / weights.sum(), [0, 0, 0, *expected], atol=1e-6)
    found = reference.distance_probabilities(similarity[0, 3:], 8, 0.5, upper_cutoff)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_contrastive_by_hand():
    # Two of a class 60 degrees apart, one of another class at 30 degrees from both.
    angles = np.deg2rad([0, 60, 30])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    loss = ContrastiveLoss(0.9, 0.5, reduction=None, average_over="valid", dtype="float64")
    one = (0.9 - 0.5) + (np.cos(np.pi / 6) - 0.5)
    np.testing.assert_allclose(numpy(loss(np.array([0, 0, 1]), rows)), np.array([one, one, 0]) / 2, rtol=1e-9)
