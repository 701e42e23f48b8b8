"""The mining step of multi-similarity, where similarities meet its limits exactly."""

import numpy as np
import pytest
from loss_cases import numpy, tensor, tied_batch

from keras_epos import reference
from keras_epos.losses import MultiSimilarityLoss


@pytest.mark.parametrize("order", ["before_mining", "instead_of_mining", "after_mining"])
@pytest.mark.parametrize(("positives", "oracle"), [("all", reference.everything), ("hard", reference.hard)])
def test_both_limits_are_strict(positives, oracle, order):
    # All similarities are multiples of a half, so many lie exactly at a limit with a slack of a half.
    for seed in range(4):
        labels, embeddings = tied_batch(seed)
        settings = {"beta": 3.0, "epsilon": 0.5, "positives_chosen": order}
        expected = reference.multi_similarity(labels, embeddings, positives=oracle, **settings)
        loss = MultiSimilarityLoss(positives=positives, dtype="float64", **settings)
        found = loss.terms(tensor(labels, "int32"), tensor(embeddings))
        np.testing.assert_allclose(numpy(found.total), expected.total, rtol=1e-6, atol=1e-9)
