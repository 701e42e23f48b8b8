"""Losses over pairs and triplets against pytorch-metric-learning: the same numbers, or what differs and why."""

import json
from pathlib import Path

import numpy as np
import pytest
from loss_cases import numpy, tensor, value_and_gradient

from keras_epos import reference
from keras_epos.losses import (
    ContrastiveLoss,
    CrossBatchMemory,
    MarginLoss,
    MultiSimilarityLoss,
    NTXentLoss,
    TripletLoss,
)
from keras_epos.mining import Easy, SemiHard

pytestmark = pytest.mark.backend("tensorflow", "torch", reason="JAX is compared with the oracle")

PML = json.loads((Path(__file__).parent / "golden" / "pml.json").read_text())
EVERYTHING = {"positives": "all", "negatives": "all", "dtype": "float64"}
SKIP = SemiHard("skip")

# entry: the same loss of ours
SAME = {
    "triplet": TripletLoss(0.05, "euclidean", **EVERYTHING),
    "triplet mean": TripletLoss(0.2, "euclidean", average_over="valid", **EVERYTHING),
    "triplet squared": TripletLoss(0.2, **EVERYTHING),
    "triplet squared mean": TripletLoss(0.2, average_over="valid", **EVERYTHING),
    "triplet cosine": TripletLoss(0.1, "cosine", **EVERYTHING),
    "triplet cosine mean": TripletLoss(0.1, "cosine", average_over="valid", **EVERYTHING),
    "triplet smooth": TripletLoss("soft", "euclidean", average_over="valid", **EVERYTHING),
    "triplet smooth squared": TripletLoss("soft", average_over="valid", **EVERYTHING),
    "triplet smooth cosine": TripletLoss("soft", "cosine", average_over="valid", **EVERYTHING),
    "triplet easy semihard": TripletLoss(0.2, positives=Easy(copies_above=1), negatives=SKIP, dtype="float64"),
    "triplet easy semihard mean": TripletLoss(
        0.2, "euclidean", Easy(copies_above=1), SKIP, average_over="valid", dtype="float64"
    ),
    "triplet easy hard": TripletLoss(0.2, positives=Easy(copies_above=1), negatives="hard", dtype="float64"),
    "triplet easy hard cosine": TripletLoss(
        0.1, "cosine", Easy(copies_above=1), "hard", average_over="valid", dtype="float64"
    ),
    "multi-similarity": MultiSimilarityLoss(2, 50, 0.5, epsilon=None, dtype="float64"),
    "multi-similarity 2 40": MultiSimilarityLoss(epsilon=None, dtype="float64"),
    "multi-similarity mined": MultiSimilarityLoss(dtype="float64"),
    "NT-Xent": NTXentLoss(0.07, dtype="float64"),
    "NT-Xent 0.1": NTXentLoss(0.1, dtype="float64"),
    "NT-Xent easy semihard": NTXentLoss(0.1, Easy(copies_above=1), SKIP, dtype="float64"),
    "NT-Xent easy hard": NTXentLoss(0.1, Easy(copies_above=1), "hard", dtype="float64"),
    "NT-Xent easy all": NTXentLoss(0.1, Easy(copies_above=1), dtype="float64"),
}


def golden(entry, batch):
    """Labels, embeddings, and value and gradient of the peer."""
    data, found = PML["batches"][batch], PML["entries"][entry]["batches"][batch]
    return *(np.array(data[key]) for key in ("labels", "embeddings")), found["value"], np.array(found["gradient"])


@pytest.mark.parametrize(
    ("entry", "batch"), [(entry, batch) for entry in SAME for batch in PML["entries"][entry]["batches"]]
)
def test_equal_to_pytorch_metric_learning(entry, batch):
    labels, embeddings, expected_value, expected_gradient = golden(entry, batch)
    value, gradient = value_and_gradient(SAME[entry], labels, tensor(embeddings))
    # The peer's numbers are stored to 12 digits; its distances are clamped elsewhere.
    np.testing.assert_allclose(value, expected_value, rtol=1e-7)
    np.testing.assert_allclose(
        numpy(gradient), expected_gradient, rtol=1e-6, atol=1e-8 * np.abs(expected_gradient).max()
    )


# entry: the loss of ours with the same pairs
SIDES_APART = {
    "contrastive cosine margins": ContrastiveLoss(0.9, 0.3, dtype="float64"),
    "contrastive cosine mean": ContrastiveLoss(0.9, 0.3, dtype="float64"),
    # Distances from 0.2 on are pulled, up to 1.1 pushed: a margin loss around 0.65.
    "contrastive mean": MarginLoss(0.45, 0.65, negatives="all", dtype="float64"),
}


@pytest.mark.parametrize("entry", SIDES_APART)
def test_contrastive_loss_has_the_same_pair_weights_and_one_mean_for_both_sides(entry):
    labels, embeddings, _, expected = golden(entry, "balanced")
    weights = numpy(SIDES_APART[entry].pair_weights(labels, embeddings))
    same = labels[:, None] == labels[None]
    pairs = [same & ~np.eye(len(labels), dtype=bool), ~same]
    if PML["entries"][entry]["reducer"] == "AvgNonZeroReducer":
        pairs = [side & (weights != 0) for side in pairs]
    # The peer takes the mean of the positives and the mean of the negatives and adds the two.
    divided = weights / np.where(same, pairs[0].sum(), pairs[1].sum())
    terms = reference.Terms(np.zeros(1), np.ones(1), np.ones(1), divided)
    np.testing.assert_allclose(reference.gradient(terms, embeddings), expected, rtol=1e-6, atol=1e-10)


def test_margin_loss_counts_a_pair_once_where_the_peer_counts_it_for_each_triplet():
    labels, embeddings, expected_value, _ = golden("margin", "balanced")
    # With classes of one size every positive is in as many triplets as any other, and every negative likewise.
    terms = reference.margin(labels, embeddings, 0.2, 1.2)
    distance = reference.distance(embeddings)
    same = labels[:, None] == labels[None]
    np.fill_diagonal(distance, np.nan)
    pull = np.nan_to_num(np.maximum(distance - 1.0, 0)) * same
    push = np.nan_to_num(np.maximum(1.4 - distance, 0)) * ~same
    positives, negatives = 3, 12
    total = pull.sum() * negatives + push.sum() * positives
    count = (pull > 0).sum() * negatives + (push > 0).sum() * positives
    assert total / count == pytest.approx(expected_value, rel=1e-7)
    ours = float(numpy(MarginLoss(negatives="all", dtype="float64")(labels, embeddings)))
    assert ours == pytest.approx(terms.mean("active"), rel=1e-6)
    assert [ours, expected_value] == pytest.approx([0.425300, 0.419212], abs=1e-6)


def test_soft_triplets_have_no_margin_where_those_of_the_peer_do():
    labels, embeddings, expected_value, _ = golden("triplet smooth margin", "balanced")
    squared = np.square(reference.distance(embeddings))
    same = labels[:, None] == labels[None]
    gaps = [
        squared[a, p] - squared[a, n]
        for a in range(16)
        for p in np.flatnonzero(same[a])
        for n in np.flatnonzero(~same[a])
        if p != a
    ]
    assert np.log1p(np.exp(np.array(gaps) + 0.2)).mean() == pytest.approx(expected_value, rel=1e-7)
    ours = float(numpy(TripletLoss("soft", average_over="valid", **EVERYTHING)(labels, embeddings)))
    assert ours == pytest.approx(np.log1p(np.exp(np.array(gaps))).mean(), rel=1e-7)


def test_memory_of_the_peer_compares_with_copies_of_the_batch_without_gradient():
    """Ours compares with the batch itself: the same value, and a gradient for both ends of a pair of the batch."""
    data, steps = PML["batches"]["random"], PML["entries"]["memory triplet"]["batches"]["random"]
    labels, embeddings = (np.array(data[key]) for key in ("labels", "embeddings"))
    inner = TripletLoss(0.2, **EVERYTHING)
    made = CrossBatchMemory(inner, 20 - 8)
    made.adopt(8)
    for step, expected in enumerate(steps):
        ids = np.arange(8 * step, 8 * step + 8)
        value = numpy(made(np.stack([labels[ids], ids], axis=1), tensor(embeddings[ids])))
        np.testing.assert_allclose(value, expected["value"], rtol=1e-7)
    # In the first step the memory is empty.
    rows = reference.unit(embeddings[:8])
    weights = numpy(inner.pair_weights(labels[:8], embeddings[:8]))
    active = float(numpy(inner.terms(tensor(labels[:8], "int32"), tensor(embeddings[:8])).active).sum())
    one_end = weights @ rows / active
    one_end -= np.sum(one_end * rows, axis=1, keepdims=True) * rows
    np.testing.assert_allclose(steps[0]["gradient"], one_end, rtol=1e-6, atol=1e-9)


def test_hard_pairs_in_a_memory_equal_those_of_the_peer():
    data, steps = PML["batches"]["random"], PML["entries"]["memory triplet hard"]["batches"]["random"]
    labels, embeddings = (np.array(data[key]) for key in ("labels", "embeddings"))
    made = CrossBatchMemory(TripletLoss(0.2, positives="hard", negatives="hard", dtype="float64"), 20 - 8)
    made.adopt(8)
    for step, expected in enumerate(steps):
        ids = np.arange(8 * step, 8 * step + 8)
        value = numpy(made(np.stack([labels[ids], ids], axis=1), tensor(embeddings[ids])))
        np.testing.assert_allclose(value, expected["value"], rtol=1e-7)
