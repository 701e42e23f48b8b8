"""Angular, signal-to-noise, ranked list, intra-pair variance and average precision losses against
pytorch-metric-learning: the same numbers, or a test that pins the difference.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from loss_cases import numpy, tensor, value_and_gradient

from keras_epos.losses import AngularLoss

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
    # the gradient what points along the rows, a part that a model with normalised outputs never sees.
    along = np.sum(gradient * embeddings, axis=1, keepdims=True) * embeddings
    assert np.abs(along).max() > 0.01
    check(loss, labels, embeddings, value, gradient - along)
