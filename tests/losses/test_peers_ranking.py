"""Angular, signal-to-noise, ranked list, intra-pair variance and average precision losses against
pytorch-metric-learning: the same numbers, or a test that pins the difference.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from keras import ops
from loss_cases import numpy, tensor, value_and_gradient

from keras_epos import reference
from keras_epos.losses import (
    AngularLoss,
    FastAPLoss,
    IntraPairVarianceLoss,
    PNPLoss,
    RankedListLoss,
    RecallAtKLoss,
    SmoothAPLoss,
    SNRContrastiveLoss,
    ThresholdConsistentPenalty,
)

pytestmark = pytest.mark.backend("tensorflow", "torch", reason="JAX is compared with the oracle")

PML = json.loads((Path(__file__).parent / "golden" / "pml.json").read_text())


def golden(entry, batch):
    """Labels, embeddings, and value and gradient of the peer."""
    data, found = PML["batches"][batch], PML["entries"][entry]["batches"][batch]
    return *(np.array(data[key]) for key in ("labels", "embeddings")), found["value"], np.array(found["gradient"])


def batches(*entries):
    return [(entry, batch) for entry in entries for batch in PML["entries"][entry]["batches"]]


def check(loss, labels, embeddings, value, gradient):
    """The peer's numbers are stored to 12 digits."""
    found_value, found_gradient = value_and_gradient(loss, labels, tensor(embeddings))
    np.testing.assert_allclose(found_value, value, rtol=1e-9)
    np.testing.assert_allclose(numpy(found_gradient), gradient, rtol=1e-7, atol=1e-9 * np.abs(gradient).max())


# --- angular ---


@pytest.mark.parametrize(("entry", "batch"), batches("angular", "angular 30"))
def test_angular(entry, batch):
    labels, embeddings, value, gradient = golden(entry, batch)
    loss = AngularLoss(PML["entries"][entry]["settings"]["alpha"], dtype="float64")
    # The peer does not divide the negatives by their norms. On unit rows that leaves the value as it is and adds to
    # the gradient what points along the rows, a part that a model with normalized outputs never sees.
    along = np.sum(gradient * embeddings, axis=1, keepdims=True) * embeddings
    assert np.abs(along).max() > 0.01
    check(loss, labels, embeddings, value, gradient - along)


# --- ranked list ---


def ranked_list(labels, embeddings, alpha, margin, sharpness, positive_sharpness, balance, epsilon):
    """As one function of the embeddings, weights included; `epsilon` joins the sums of weights."""
    distance, total = reference.distance(embeddings), 0
    for a in range(len(labels)):
        same = labels == labels[a]
        for sign, radius, steepness, share, side in (
            (1, alpha - margin, positive_sharpness, 1 - balance, same & (np.arange(len(labels)) != a)),
            (-1, alpha, sharpness, balance, ~same),
        ):
            violation = sign * (distance[a, side] - radius)
            violation = violation[violation > 0]
            weight = np.exp(steepness * violation)
            total += share * (weight * violation).sum() / (weight.sum() + epsilon) if len(violation) else 0
    return total / len(labels)


@pytest.mark.parametrize(("entry", "batch"), batches("ranked list", "ranked list alpha"))
def test_ranked_list(entry, batch):
    labels, embeddings, value, gradient = golden(entry, batch)
    peer = PML["entries"][entry]["settings"]
    settings = {
        "alpha": peer.get("alpha", 1 + peer["margin"] / 2),
        "margin": peer["margin"],
        "sharpness": peer["Tn"],
        "positive_sharpness": peer.get("Tp", 0),
        "balance": peer.get("imbalance", 0.5),
    }
    found_value, found_gradient = value_and_gradient(
        RankedListLoss(**settings, dtype="float64"), labels, tensor(embeddings)
    )
    # The peer adds 1e-5 for each row of the batch to the sum of the weights.
    np.testing.assert_allclose(found_value, ranked_list(labels, embeddings, **settings, epsilon=0), rtol=1e-9)
    np.testing.assert_allclose(
        value, ranked_list(labels, embeddings, **settings, epsilon=1e-5 * len(labels)), rtol=1e-9
    )
    np.testing.assert_allclose(found_value, value, rtol=1e-4)
    # It also differentiates the weights, which the authors hold constant.
    slope = reference.numerical_gradient(
        lambda rows: ranked_list(labels, rows, **settings, epsilon=1e-5 * len(labels)), embeddings
    )
    np.testing.assert_allclose(gradient, slope, atol=1e-7 * np.abs(slope).max())
    assert 0.15 < np.linalg.norm(numpy(found_gradient) - gradient) / np.linalg.norm(gradient) < 0.35


# --- signal to noise ---


class OneSide(SNRContrastiveLoss):
    """The mean over the terms of one side alone: the peer adds the means of both sides, we take one of all terms."""

    def __init__(self, side, **settings):
        super().__init__(**settings)
        self.side = side

    def formula(self, positives, negatives, batch):
        if self.side == "positives":
            negatives = negatives._replace(mask=ops.zeros_like(negatives.mask))
        else:
            positives = positives._replace(mask=ops.zeros_like(positives.mask))
        return super().formula(positives, negatives, batch)


@pytest.mark.parametrize(("entry", "batch"), batches("SNR contrastive", "SNR contrastive margins"))
def test_snr_contrastive(entry, batch):
    labels, embeddings, value, gradient = golden(entry, batch)
    found = PML["entries"][entry]
    settings = {
        "positive_margin": found["settings"]["pos_margin"],
        "negative_margin": found["settings"]["neg_margin"],
        "average_over": "active" if found["reducer"] == "AvgNonZeroReducer" else "valid",
        "dtype": "float64",
    }

    def both(labels, embeddings):
        return sum(OneSide(side, **settings)(labels, embeddings) for side in ("positives", "negatives"))

    check(both, labels, embeddings, value, gradient)
    # Negatives are more than positives and rest more often, so one mean of all terms is less than the two.
    assert numpy(SNRContrastiveLoss(**settings)(labels, embeddings)) < 0.75 * value


# --- intra-pair variance ---


@pytest.mark.parametrize(("entry", "batch"), batches("intra-pair variance", "intra-pair variance eps"))
def test_intra_pair_variance(entry, batch):
    settings = PML["entries"][entry]["settings"]
    check(IntraPairVarianceLoss(settings["pos_eps"], settings["neg_eps"], dtype="float64"), *golden(entry, batch))


@pytest.mark.parametrize(("entry", "batch"), batches("threshold-consistent margin"))
def test_threshold_consistent(entry, batch):
    check(ThresholdConsistentPenalty(dtype="float64"), *golden(entry, batch))


# --- average precision ---


@pytest.mark.parametrize(("entry", "batch"), batches("FastAP", "FastAP 20"))
def test_fast_ap(entry, batch):
    check(FastAPLoss(PML["entries"][entry]["settings"]["num_bins"], dtype="float64"), *golden(entry, batch))


def smooth_ap(labels, embeddings, temperature, with_itself):
    """The loss as one function of the embeddings, the anchor among its own positives or not."""
    similarity, numbers = reference.cosine(embeddings), np.arange(len(labels))
    losses = []
    for a in range(len(labels)):
        others = numbers if with_itself else np.delete(numbers, a)
        precisions = []
        for p in others[labels[others] == labels[a]]:
            rest = others[others != p]
            before = 1 / (1 + np.exp((similarity[a, p] - similarity[a, rest]) / temperature))
            precisions.append((1 + before[labels[rest] == labels[a]].sum()) / (1 + before.sum()))
        losses.append(1 - np.mean(precisions))
    return np.mean(losses)


@pytest.mark.parametrize(
    ("entry", "batch", "ours"), [("SmoothAP", "balanced", 0.671944), ("SmoothAP 0.1", "balanced", 0.686949)]
)
def test_smooth_ap(entry, batch, ours):
    labels, embeddings, value, gradient = golden(entry, batch)
    temperature = PML["entries"][entry]["settings"]["temperature"]
    loss = SmoothAPLoss(temperature, dtype="float64")
    for with_itself, expected in (
        (True, (value, gradient)),
        (False, value_and_gradient(loss, labels, tensor(embeddings))),
    ):
        # The peer, as the authors' code, puts the anchor among its own positives; nothing else differs.
        def function(rows, with_itself=with_itself):
            return smooth_ap(labels, rows, temperature, with_itself)

        np.testing.assert_allclose(expected[0], function(embeddings), rtol=1e-9)
        slope = reference.numerical_gradient(function, embeddings)
        np.testing.assert_allclose(numpy(expected[1]), slope, atol=1e-6 * np.abs(slope).max())
    assert numpy(loss(labels, embeddings)) == pytest.approx(ours, abs=1e-6)


def pnp(labels, embeddings, settings, with_itself):
    """The loss as one function of the embeddings, the anchor among its own positives or not."""
    similarity, numbers = reference.cosine(embeddings), np.arange(len(labels))
    alpha, b = settings.get("alpha", 1), settings.get("b", 2)
    penalty = {
        "O": lambda n: n,
        "Iu": lambda n: (1 + n) * np.log(1 + n),
        "Ib": lambda n: (b * n - np.log(1 + b * n)) / b**2,
        "Ds": lambda n: np.log(1 + n),
        "Dq": lambda n: 1 - (1 + n) ** -alpha,
    }[settings["variant"]]
    means = []
    for a in range(len(labels)):
        negative = labels != labels[a]
        own = [p for p in numbers[labels == labels[a]] if with_itself or p != a]
        exponent = [(similarity[a, negative] - similarity[a, p]) / settings["anneal"] for p in own]
        means.append(np.mean([penalty((1 / (1 + np.exp(-one))).sum()) for one in exponent]))
    return np.mean(means)


@pytest.mark.parametrize(("entry", "batch"), batches("PNP O", "PNP Iu", "PNP Ib", "PNP Ds", "PNP Dq"))
def test_pnp(entry, batch):
    labels, embeddings, value, _ = golden(entry, batch)
    settings = PML["entries"][entry]["settings"]
    names = {"anneal": "temperature"}
    loss = PNPLoss(**{names.get(name, name): one for name, one in settings.items()}, dtype="float64")
    # The peer, as the authors' code, puts the anchor among its own positives; nothing else differs.
    np.testing.assert_allclose(value, pnp(labels, embeddings, settings, True), rtol=1e-9)
    found = numpy(loss(labels, embeddings))
    np.testing.assert_allclose(found, pnp(labels, embeddings, settings, False), rtol=1e-9)
    assert found > 1.1 * value


def test_recall_at_k():
    found = json.loads((Path(__file__).parent / "golden" / "authors.json").read_text())["entries"]["Recall@k"]
    labels, rows = (np.array(PML["batches"]["balanced"][key]) for key in ("labels", "embeddings"))

    def mean(rows, with_itself):
        similarity, numbers, losses = reference.cosine(rows), np.arange(len(rows)), []
        for a in numbers:
            others = numbers if with_itself else np.delete(numbers, a)
            own = [p for p in others if labels[p] == labels[a] and p != a]
            soft = [1 / (1 + np.exp((similarity[a, p] - similarity[a, others[others != p]]) / 0.1)) for p in own]
            rank = 1 + np.array([one.sum() for one in soft])
            recalls = [min(k, (1 / (1 + np.exp(rank - k))).sum()) / min(k, len(own)) for k in (1, 2)]
            losses.append(1 - np.mean(recalls))
        return np.mean(losses)

    # In the authors' code the query is one of its own references, so ranks begin at 2; nothing else differs.
    (found,) = found["batches"].values()
    np.testing.assert_allclose(found["value"], mean(rows, True), rtol=1e-9)
    slope = reference.numerical_gradient(lambda rows: mean(rows, True), rows)
    np.testing.assert_allclose(along_the_sphere(found["gradient"], rows), slope, atol=1e-7)
    ours = RecallAtKLoss((1, 2), 0.1, dtype="float64")
    np.testing.assert_allclose(numpy(ours(labels, rows)), mean(rows, False), rtol=1e-9)
    assert numpy(ours(labels, rows)) < found["value"] - 0.05


def along_the_sphere(gradient, rows):
    """A gradient by unit rows without the part along them."""
    gradient = np.asarray(gradient)
    return gradient - np.sum(gradient * rows, axis=1, keepdims=True) * rows
