"""What is particular to the angular, signal-to-noise, ranked list, intra-pair variance and average precision losses."""

import numpy as np
import pytest
from loss_cases import LOSSES, batch, make, numpy, tensor, value_and_gradient

from keras_epos import losses, reference
from keras_epos.losses._pair_parts import Memory

# --- references beyond the batch ---

BATCH = 12


def with_memory(loss):
    """Labels and embeddings of a batch and its memory together, and the `Terms` of the batch beside that memory."""
    labels, embeddings = batch(seed=10, classes=(7, 6, 5, 3))
    same = labels[:BATCH, None] == labels[None, BATCH:]
    memory = Memory(tensor(embeddings[BATCH:]), lambda _: (tensor(same, "bool"), tensor(~same, "bool"), None))
    return labels, embeddings, loss.terms(tensor(labels[:BATCH], "int32"), tensor(embeddings[:BATCH]), memory)


@pytest.mark.backend("tensorflow", "torch", reason="JAX compiles each; see test_references_beyond_the_batch.py")
@pytest.mark.parametrize("positives", ["all", "easy"])
@pytest.mark.parametrize("loss", ["ranked list both", "SNR contrastive", "SNR contrastive raw", "FastAP", "Smooth-AP"])
def test_references_of_a_memory_count_like_those_of_the_batch(loss, positives):
    labels, embeddings, found = with_memory(make(loss, positives, "all"))
    strategy = {"all": reference.everything, "easy": reference.easy}[positives]
    expected = LOSSES[loss].oracle(labels, embeddings, positives=strategy)
    np.testing.assert_allclose(numpy(found.total), expected.total[:BATCH], rtol=1e-6)
    assert expected.total[:BATCH].all()


def test_angular_has_no_term_for_a_positive_of_a_memory():
    labels, embeddings, found = with_memory(make("angular", "all", "all"))

    def of_the_batch(ease, candidates):
        return [j for j in candidates if j < BATCH]

    expected = reference.angular(labels, embeddings, positives=of_the_batch)
    np.testing.assert_allclose(numpy(found.total), expected.total[:BATCH], rtol=1e-6)
    np.testing.assert_array_equal(numpy(found.valid), expected.valid[:BATCH])
    assert expected.valid[:BATCH].sum() < reference.angular(labels, embeddings).valid[:BATCH].sum()


def test_intra_pair_variance_takes_its_means_over_the_pairs_of_the_batch_and_the_memory():
    labels, embeddings, found = with_memory(losses.IntraPairVarianceLoss(0.05, 0.1, dtype="float64"))
    similarity = reference.cosine(embeddings)[:BATCH]
    same = labels[:BATCH, None] == labels[None]
    near, far = similarity[same & ~np.eye(BATCH, len(labels), dtype=bool)], similarity[~same]
    expected = np.mean(np.maximum(0, 0.95 * near.mean() - near) ** 2)
    expected += np.mean(np.maximum(0, far - 1.1 * far.mean()) ** 2)
    assert numpy(found.total).sum() / numpy(found.valid).sum() == pytest.approx(expected, rel=1e-6)


# --- at the limits ---


@pytest.mark.parametrize("alpha", [0.1, 60])
def test_angular_is_exact_in_float32_where_the_exponents_are_largest(alpha):
    # Negatives at the anchor, then opposite to it: exponents from -32 to 56 at 60 degrees.
    rows = np.array([[1, 0.0], [-1, 1e-3], [1, 1e-3], [-1, 0]])
    for labels in (np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])):
        expected = reference.angular(labels, rows, alpha)
        loss = losses.AngularLoss(alpha, dtype="float32")
        value, slope = value_and_gradient(loss, labels, tensor(rows, "float32"))
        np.testing.assert_allclose(value, expected.mean(), rtol=1e-5, atol=1e-12)
        # What is left of pulls of order 1 once their part along the row is taken away: rounding at 1e-7 of those.
        np.testing.assert_allclose(numpy(slope), reference.gradient(expected, rows), rtol=1e-4, atol=1e-6)


def test_an_anchor_without_variance_has_no_signal_and_no_gradient():
    labels, rows = np.arange(6) % 2, np.random.default_rng(0).standard_normal((6, 4))
    rows[0] = 3.0
    for normalize in (True, False):
        loss = losses.SNRContrastiveLoss(0.1, 3.0, normalize, dtype="float64")
        weights = numpy(loss.pair_weights(labels, rows))
        assert not weights[0].any()
        assert weights[1:].any(axis=1).all()


def test_snr_distance_does_not_see_the_mean_of_a_raw_embedding():
    labels, rows = batch()
    loss = losses.SNRContrastiveLoss(normalize=False, dtype="float64")
    shifted = rows + np.random.default_rng(0).uniform(-1, 1, (len(rows), 1))
    np.testing.assert_allclose(numpy(loss(labels, shifted)), numpy(loss(labels, rows)), rtol=1e-9)


def points(*angles):
    angles = np.deg2rad(angles)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


@pytest.mark.parametrize("num_bins", [10, 33])
def test_fast_ap_rests_when_all_positives_are_in_nearer_bins(num_bins):
    labels, rows = np.array([0, 0, 0, 1, 1, 1]), points(0, 3, 6, 180, 183, 186)
    value, slope = value_and_gradient(losses.FastAPLoss(num_bins), labels, tensor(rows, "float32"))
    assert value == 0
    assert not numpy(slope).any()
    result = losses.FastAPLoss(num_bins).result(labels, tensor(rows, "float32"))
    assert numpy(result.statistics["active_anchors"]) == 0


def test_smooth_ap_of_the_easy_positive_is_a_reciprocal_rank():
    # From 0 degrees: a negative at 10, the nearest positive at 20, another negative and the other positive.
    labels, rows = np.array([0, 1, 0, 1, 0]), points(0, 10, 20, 35, 60)
    loss = losses.SmoothAPLoss(1e-4, positives="easy", reduction=None, dtype="float64")
    assert numpy(loss(labels, rows))[0] == pytest.approx(1 - 1 / 2)
    every = losses.SmoothAPLoss(1e-4, reduction=None, dtype="float64")
    assert numpy(every(labels, rows))[0] == pytest.approx(1 - (1 / 2 + 2 / 4) / 2)


def test_positives_on_a_sphere_are_at_rest_in_ranked_list():
    labels, rows = np.array([0, 0, 1, 1]), points(0, 40, 180, 220)
    # Chords of 40 degrees are 0.684 long, all others more than 1.2.
    loss = losses.RankedListLoss(1.2, 0.5, dtype="float64")
    assert numpy(loss(labels, rows)) == 0
    assert numpy(losses.RankedListLoss(1.2, 0.6, dtype="float64")(labels, rows)) > 0


# --- negatives before positives, Recall@k ---


@pytest.mark.parametrize("variant", ["O", "Iu", "Ds"])
def test_variants_of_pnp(variant):
    labels, embeddings = batch(seed=3)
    expected = reference.pnp(labels, embeddings, variant, temperature=0.2)
    loss = losses.PNPLoss(variant, temperature=0.2, dtype="float64")
    value, slope = value_and_gradient(loss, labels, tensor(embeddings))
    np.testing.assert_allclose(value, expected.mean(), rtol=1e-9)
    np.testing.assert_allclose(numpy(slope), reference.gradient(expected, embeddings), rtol=1e-8, atol=1e-11)


def test_decreasing_pnp_leaves_a_far_positive_in_peace_and_increasing_pnp_does_not():
    # Two negatives are nearly before the near positive, and many before the far one.
    angles = np.deg2rad([0, 20, 120, 21, 22, *range(60, 100, 4)])
    labels = np.array([0, 0, 0, *[1] * 12])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def pull(variant):
        weights = numpy(losses.PNPLoss(variant, temperature=0.1, dtype="float64").pair_weights(labels, rows))
        return weights[0, 2] / weights[0, 1]

    assert pull("Dq") < 0.1 * pull("O")
    assert pull("Ds") < 0.4 * pull("O")
    assert pull("Iu") > 1.5 * pull("O")


def test_recall_beyond_what_k_results_can_hold_has_no_gradient():
    # Four copies share the ranks 1 to 4, softly 2.5 each: their parts add up to more than one result can be.
    labels = np.array([0, 0, 0, 0, 0, 1])
    rows = np.array([[1.0, 0.0]] * 5 + [[0.0, 1.0]])
    loss = losses.RecallAtKLoss((1,), rank_temperature=20.0, reduction=None, dtype="float64")
    expected = reference.recall_at_k(labels, rows, (1,), rank_temperature=20.0)
    np.testing.assert_allclose(numpy(loss(labels, rows)), expected.total, atol=1e-12)
    assert not expected.total.any()
    assert not numpy(loss.pair_weights(labels, rows)).any()
