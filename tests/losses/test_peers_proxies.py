"""Losses with proxies against pytorch-metric-learning 2.9: the same values and both gradients."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from proxy_cases import numpy, tensor, value_and_gradients

from keras_epos.losses import (
    ArcFaceLoss,
    CosFaceLoss,
    NormalizedSoftmaxLoss,
    ProxyAnchorLoss,
    ProxyNCALoss,
    SoftTripleLoss,
    SubCenterArcFaceLoss,
)

pytestmark = pytest.mark.backend("tensorflow", "torch", reason="JAX is compared with the oracle")

PML = json.loads((Path(__file__).parent / "golden" / "pml.json").read_text())

# entry: the class of ours and its arguments
SAME = {
    # A scale there is the inverse of a temperature here; its softmax is over all classes, as in Proxy-NCA++.
    "Proxy-NCA": (ProxyNCALoss, {"temperature": 1.0}),
    "Proxy-NCA 8": (ProxyNCALoss, {"temperature": 1 / 8}),
    "Proxy-Anchor": (ProxyAnchorLoss, {}),
    "Proxy-Anchor 0.2 8": (ProxyAnchorLoss, {"margin": 0.2, "alpha": 8.0}),
    # Its regularizer is an object of its own, off by default.
    "SoftTriple": (SoftTripleLoss, {"centers": 3, "tau": 0.0}),
    "SoftTriple 10 0.2": (SoftTripleLoss, {"centers": 2, "scale": 10.0, "gamma": 0.2, "margin": 0.1, "tau": 0.0}),
    "normalized softmax": (NormalizedSoftmaxLoss, {}),
    "normalized softmax 0.2": (NormalizedSoftmaxLoss, {"temperature": 0.2}),
    # Margins there are degrees.
    "ArcFace": (ArcFaceLoss, {"margin": math.radians(28.6)}),
    "ArcFace 20 16": (ArcFaceLoss, {"margin": math.radians(20), "scale": 16.0}),
    "sub-center ArcFace": (SubCenterArcFaceLoss, {"margin": math.radians(28.6)}),
    "sub-center ArcFace 20 16": (SubCenterArcFaceLoss, {"margin": math.radians(20), "scale": 16.0, "centers": 2}),
    "CosFace": (CosFaceLoss, {}),
    "CosFace 0.2 16": (CosFaceLoss, {"margin": 0.2, "scale": 16.0}),
}
BATCHES = [(entry, batch) for entry in SAME for batch in PML["entries"][entry]["batches"]]


def ours(entry, batch, **settings):
    """A loss with the peer's proxies, labels, embeddings, and what the peer found."""
    found = PML["entries"][entry]["batches"][batch]
    labels, rows = (np.array(PML["batches"][batch][key]) for key in ("labels", "embeddings"))
    make, its_settings = SAME[entry]
    loss = make(7, dtype="float64", **{**its_settings, **settings})
    loss.adopt(rows.shape[1])
    loss.proxies.assign(np.array(found["weights"]))
    return loss, labels, rows, found


@pytest.mark.parametrize(("entry", "batch"), BATCHES)
def test_value_and_both_gradients_are_the_same(entry, batch):
    loss, labels, rows, found = ours(entry, batch)
    value, by_embeddings, by_proxies = value_and_gradients(loss, labels, tensor(rows))
    np.testing.assert_allclose(value, found["value"], rtol=1e-9)
    for ours_, theirs in ((by_embeddings, found["gradient"]), (by_proxies, found["weights_gradient"])):
        theirs = np.array(theirs)
        np.testing.assert_allclose(numpy(ours_), theirs, rtol=1e-8, atol=1e-9 * np.abs(theirs).max())


@pytest.mark.parametrize("batch", ["random", "balanced"])
def test_proxy_nca_of_2017_is_another_loss_than_the_peers(batch):
    loss, labels, rows, found = ours("Proxy-NCA", batch, denominator="others")
    value = float(numpy(loss(labels, rows)))
    # exp(loss_all) = 1 + exp(loss_others) for every sample, so its own proxy in the sum always adds.
    assert value < found["value"] - 0.05
    one_each, _, _, _ = ours("Proxy-NCA", batch, denominator="others", reduction=None)
    values = numpy(one_each(labels, rows))
    assert np.log1p(np.exp(values)).mean() == pytest.approx(found["value"], rel=1e-9)
