"""The mining step of multi-similarity, where similarities meet its limits exactly."""

from functools import partial

import numpy as np
import pytest
from loss_cases import numpy, tensor, tied_batch

from keras_epos import reference
from keras_epos.losses import MultiSimilarityLoss
from keras_epos.mining import Easy


@pytest.mark.parametrize("order", ["before_mining", "instead_of_mining", "after_mining"])
@pytest.mark.parametrize(
    ("positives", "oracle"), [("all", reference.everything), ("hard", reference.hard), ("easy", reference.easy)]
)
def test_both_limits_are_strict(positives, oracle, order):
    # All similarities are multiples of a half, so many lie exactly at a limit with a slack of a half.
    for seed in range(4):
        labels, embeddings = tied_batch(seed)
        settings = {"beta": 3.0, "epsilon": 0.5, "positives_chosen": order}
        expected = reference.multi_similarity(labels, embeddings, positives=oracle, **settings)
        loss = MultiSimilarityLoss(positives=positives, dtype="float64", **settings)
        found = loss.terms(tensor(labels, "int32"), tensor(embeddings))
        np.testing.assert_allclose(numpy(found.total), expected.total, rtol=1e-6, atol=1e-9)


def test_an_anchor_whose_only_positive_is_a_copy_that_is_dropped_has_no_pairs_to_mine():
    labels, embeddings = np.array([0, 0, 1, 1]), np.array([[1.0, 0, 0], [1, 0, 0], [0.6, 0.8, 0], [0.6, 0, 0.8]])
    expected = reference.multi_similarity(
        labels, embeddings, positives_chosen="before_mining", positives=partial(reference.easy, copies="drop")
    )
    loss = MultiSimilarityLoss(positives=Easy(copies="drop"), positives_chosen="before_mining", dtype="float64")
    found = loss.terms(tensor(labels, "int32"), tensor(embeddings))
    np.testing.assert_allclose(numpy(found.total), expected.total, rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(numpy(found.active), expected.active)
    # By hand: the other two have similarity 0.36 to each other and 0.6 to both copies.
    value = np.log1p(np.exp(0.28)) / 2 + np.log1p(2 * np.exp(4.0)) / 40
    np.testing.assert_allclose(expected.total, [0, 0, value, value], rtol=1e-12)
    assert expected.valid.tolist() == [1, 1, 1, 1]
