"""Losses of log-sum-exp form against pytorch-metric-learning, Keras and tensorflow-addons: the same, or why not.

The same numbers, or, where a peer's definition is another one, a test that pins the difference.
"""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from loss_cases import numpy, tensor, value_and_gradient

from keras_epos import reference
from keras_epos._pairs import unit
from keras_epos.losses import (
    CircleLoss,
    GeneralizedLiftedStructureLoss,
    LiftedStructureLoss,
    NCALoss,
    NPairsLoss,
    NTXentLoss,
    SupConLoss,
    TripletLoss,
    TupletMarginLoss,
)
from keras_epos.mining import Selection, Strategy

pytestmark = pytest.mark.backend("tensorflow", "torch", reason="JAX is compared with the oracle")

TFA = json.loads((Path(__file__).parents[1] / "compat" / "golden" / "tfa.json").read_text())
PML = json.loads((Path(__file__).parent / "golden" / "pml.json").read_text())

# entry: the same loss of ours
SAME = {
    "circle": CircleLoss(0.4, 80, average_over="active", dtype="float64"),
    "circle 0.25 16": CircleLoss(0.25, 16, dtype="float64"),
    # Only the difference of the two margins of the peer counts.
    "lifted structure": LiftedStructureLoss(1.0, dtype="float64"),
    "lifted structure margins": LiftedStructureLoss(0.8 - 0.3, average_over="active", dtype="float64"),
    "generalized lifted structure": GeneralizedLiftedStructureLoss(1.0, dtype="float64"),
    "generalized lifted structure margins": GeneralizedLiftedStructureLoss(
        0.2 - 1.3, average_over="active", dtype="float64"
    ),
    "NCA": NCALoss(dtype="float64"),
    "NCA 10": NCALoss(10.0, dtype="float64"),
    "tuplet margin": TupletMarginLoss(dtype="float64"),
    "tuplet margin 10 16": TupletMarginLoss(10.0, 16.0, dtype="float64"),
    "SupCon": SupConLoss(dtype="float64"),
    "SupCon 0.5 mean": SupConLoss(0.5, dtype="float64"),
}


def golden(entry, batch):
    """Labels, embeddings, and value and gradient of the peer."""
    data, found = PML["batches"][batch], PML["entries"][entry]["batches"][batch]
    return *(np.array(data[key]) for key in ("labels", "embeddings")), found["value"], np.array(found["gradient"])


def batches(*entries):
    return [(entry, batch) for entry in entries for batch in PML["entries"][entry]["batches"]]


def check(loss, labels, embeddings, value, gradient, **settings):
    """The peer's numbers are stored to 12 digits; its softplus is the identity above 20."""
    found_value, found_gradient = value_and_gradient(loss, labels, tensor(embeddings), **settings)
    np.testing.assert_allclose(found_value, value, rtol=1e-9)
    np.testing.assert_allclose(numpy(found_gradient), gradient, rtol=1e-7, atol=1e-9 * np.abs(gradient).max())


@pytest.mark.parametrize(("entry", "batch"), batches(*SAME))
def test_equal_to_pytorch_metric_learning(entry, batch):
    check(SAME[entry], *golden(entry, batch))


def test_circle_of_keras_has_the_value_but_another_gradient():
    # It differentiates the two factors that the paper takes for constants of the step.
    labels, embeddings, _, _ = golden("circle 0.25 16", "balanced")
    ours = CircleLoss(0.25, 16, dtype="float64")
    value, gradient = value_and_gradient(ours, labels, tensor(embeddings))
    of_keras = keras.losses.Circle(gamma=16, margin=0.25, dtype="float64")
    keras_value, keras_gradient = value_and_gradient(
        lambda ids, rows: of_keras(ids, unit(rows)), labels, tensor(embeddings)
    )
    np.testing.assert_allclose(keras_value, value, rtol=1e-5)
    terms, similarity = reference.circle(labels, embeddings, 0.25, 16), reference.cosine(embeddings)
    same = labels[:, None] == labels[None]
    factor = np.where(same, 2 * (1 - similarity) / (1.25 - similarity), 2 * similarity / (similarity + 0.25))
    expected = reference.gradient(terms._replace(weights=terms.weights * factor), embeddings)
    np.testing.assert_allclose(numpy(keras_gradient), expected, rtol=1e-4, atol=1e-4)
    lengths = [np.linalg.norm(numpy(found)) for found in (gradient, keras_gradient)]
    np.testing.assert_allclose(lengths, [10.614, 17.363], rtol=1e-3)


def test_sup_con_with_one_positive_is_nt_xent():
    labels, embeddings, _, _ = golden("SupCon", "random")
    settings = {"temperature": 0.2, "positives": "easy", "reduction": None, "dtype": "float64"}
    found, expected = (numpy(loss(**settings)(labels, embeddings)) for loss in (SupConLoss, NTXentLoss))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_sup_con_pushes_away_a_positive_that_takes_more_than_its_share():
    angles = np.deg2rad([0, 10, 70, 100])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    weights = numpy(SupConLoss(dtype="float64").pair_weights(np.array([0, 0, 0, 1]), rows))
    assert weights[0, 1] > 0 > weights[0, 2]


def test_tuplet_margin_pushes_away_a_positive_that_is_nearer_than_its_margin():
    angles = np.deg2rad([0, 0, 4.99, 5.01, 20])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    loss = TupletMarginLoss(margin=5, scale=8, dtype="float64")
    weights = numpy(loss.pair_weights(np.array([0, 0, 0, 0, 1]), rows))[0]
    assert weights[2] > 0 > weights[3]
    # A copy has no direction to be pushed to: the part of the formula that has no derivative is left out.
    z = np.exp(8 * (np.cos(np.deg2rad(20)) - np.cos(np.deg2rad(5))))
    np.testing.assert_allclose(weights[1], -8 * z / (1 + z) * np.cos(np.deg2rad(5)), rtol=1e-9)


@pytest.mark.parametrize("margin", [0.2, "soft"])
def test_generalized_lifted_structure_with_one_pair_of_each_side_is_triplet(margin):
    labels, embeddings, _, _ = golden("generalized lifted structure", "random")
    settings = {"positives": "easy", "negatives": "hard", "average_over": "valid", "dtype": "float64"}
    found, expected = (
        numpy(loss(margin, "euclidean", **settings)(labels, embeddings))
        for loss in (GeneralizedLiftedStructureLoss, TripletLoss)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)


class Columns(Strategy):
    """Only these references."""

    count = None

    def __init__(self, chosen):
        self.chosen = chosen

    def select(self, ease, mask, side, threshold=None, dim=None):
        return Selection(None, keras.ops.logical_and(mask, self.chosen[None, :]))


@pytest.mark.parametrize(("entry", "batch"), batches("N-pairs", "N-pairs dot"))
def test_n_pairs_of_the_peer_has_one_pair_of_each_class(entry, batch):
    # Its anchors are the first samples of the classes; positives and negatives are the second ones only.
    labels, embeddings, value, gradient = golden(entry, batch)
    place = np.array([np.sum(labels[:row] == labels[row]) for row in range(len(labels))])
    second, settings = Columns(place == 1), {"normalize": entry == "N-pairs", "dtype": "float64"}
    loss = NPairsLoss(positives=second, negatives=second, reduction="mean_with_sample_weight", **settings)
    check(loss, labels, embeddings, value, gradient, sample_weight=place == 0)
    # With every sample for an anchor, and both samples of the other pairs for negatives, it is larger.
    assert numpy(NPairsLoss(**settings)(labels, embeddings)) > 1.1 * value


@pytest.mark.parametrize("batch", ["random", "balanced", "pairs", "lone"])
@pytest.mark.parametrize("settings", [{}, {"margin": 0.4}])
def test_lifted_structure_of_tensorflow_addons(settings, batch):
    wanted = {"loss": "lifted_struct_loss", "settings": settings, "batch": batch}
    (case,) = (case for case in TFA["cases"] if "dtype" not in case and wanted.items() <= case.items())
    labels, embeddings = (np.array(TFA["batches"][batch][key]) for key in ("labels", "embeddings"))
    value, gradient = value_and_gradient(LiftedStructureLoss(**settings, dtype="float64"), labels, tensor(embeddings))
    # The peer does not divide rows by their norm: here they are unit, and ours has no gradient along them.
    theirs = np.array(case["gradient"])
    theirs -= np.sum(theirs * embeddings, axis=1, keepdims=True) * embeddings
    np.testing.assert_allclose(value, case["value"], rtol=1e-6)
    np.testing.assert_allclose(numpy(gradient), theirs, rtol=1e-4, atol=1e-6)
