"""Losses whose references are more than their anchors, as with a memory: every anchor as if all were one batch."""

import numpy as np
import pytest
from loss_cases import batch, make, numpy, oracle, tensor

from keras_epos import reference
from keras_epos.losses import LiftedStructureLoss
from keras_epos.losses._pair_parts import Memory

ANCHORS = 7


def terms(loss, labels, embeddings):
    """Of the first rows as the batch and the others as a memory."""
    same = labels[:ANCHORS, None] == labels[None, ANCHORS:]
    memory = Memory(tensor(embeddings[ANCHORS:]), lambda _: (tensor(same, "bool"), tensor(~same, "bool"), None))
    return loss.terms(tensor(labels[:ANCHORS], "int32"), tensor(embeddings[:ANCHORS]), memory)


@pytest.mark.parametrize(("positives", "negatives"), [("all", "all"), ("easy", "hard")])
@pytest.mark.parametrize(
    "loss",
    [
        "NT-Xent",
        "circle",
        "SupCon",
        "N-pairs",
        "generalized lifted structure",
        "binomial deviance",
        "NCA",
        "tuplet margin",
    ],
)
def test_equal_to_the_oracle_of_all_rows(loss, positives, negatives):
    labels, embeddings = batch()
    expected = oracle(loss, positives, negatives)(labels, embeddings)
    found = terms(make(loss, positives, negatives), labels, embeddings)
    np.testing.assert_allclose(numpy(found.total), expected.total[:ANCHORS], rtol=1e-6)
    np.testing.assert_array_equal(numpy(found.valid), expected.valid[:ANCHORS])


def test_lifted_structure_knows_no_negatives_of_a_positive_beyond_the_batch():
    labels, embeddings = batch()
    found = terms(LiftedStructureLoss(dtype="float64"), labels, embeddings)
    distance = reference.distance(embeddings)
    expected = np.zeros(ANCHORS)
    for a in range(ANCHORS):
        for p in np.flatnonzero((labels == labels[a]) & (np.arange(12) != a)):
            pushed = [np.exp(1 - distance[end, labels != labels[a]]).sum() for end in (a, p) if end < ANCHORS]
            expected[a] += max(0, distance[a, p] + np.log(sum(pushed))) ** 2 / 2
    np.testing.assert_allclose(numpy(found.total), expected, rtol=1e-6)
    assert (labels[ANCHORS:, None] == labels[:ANCHORS]).any()
