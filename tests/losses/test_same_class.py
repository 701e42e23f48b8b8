"""What makes two samples positives of each other: equal labels, a label in common, or a function."""

import keras
import numpy as np
import pytest
from loss_cases import batch, numpy, tensor, value_and_gradient

from keras_epos import losses, reference, same_class

LABELS, EMBEDDINGS = batch(classes=(4, 4, 4))
MANY = np.random.default_rng(0).integers(0, 2, (12, 4)) * (np.arange(12) > 0)[:, None]


@keras.saving.register_keras_serializable("tests")
def same_half(labels, reference_labels):
    return labels[:, None] // 2 == reference_labels[None, :] // 2


def share(one, other):
    return bool((np.asarray(one) * other).any())


MADE = {
    "contrastive": lambda **settings: losses.ContrastiveLoss(0.9, 0.3, **settings),
    "easy triplet": lambda **settings: losses.TripletLoss(positives="easy", negatives="semi_hard", **settings),
    "multi-similarity": losses.MultiSimilarityLoss,
}


@pytest.mark.parametrize("loss", MADE)
def test_a_function_and_its_relabeling_agree(loss):
    by_function = MADE[loss](same_class=same_half, dtype="float64", reduction=None)
    relabeled = MADE[loss](dtype="float64", reduction=None)
    expected = numpy(relabeled(LABELS // 2, EMBEDDINGS))
    np.testing.assert_array_equal(numpy(by_function(LABELS, EMBEDDINGS)), expected)
    assert expected.any()


def test_a_function_that_is_set_later_counts():
    made = MADE["contrastive"](dtype="float64")
    made(LABELS, EMBEDDINGS)
    made.same_class = same_half
    expected = MADE["contrastive"](same_class=same_half, dtype="float64")
    assert numpy(made(LABELS, EMBEDDINGS)) == numpy(expected(LABELS, EMBEDDINGS))
    assert made.get_config()["same_class"] == expected.get_config()["same_class"]


@pytest.mark.parametrize("dtype", ["int32", "bool", "uint8"])
@pytest.mark.parametrize("loss", MADE)
def test_one_hot_rows_that_share_a_label_agree_with_labels(loss, dtype):
    rows = np.eye(3)[LABELS].astype(dtype)
    made = MADE[loss](same_class="share_a_label", dtype="float64")
    assert numpy(made(rows, EMBEDDINGS)) == numpy(MADE[loss](dtype="float64")(LABELS, EMBEDDINGS)) > 0


def contrastive_loop(embeddings):
    """Terms of each anchor, their number, and the pair weights, over rows that share a label or do not."""
    terms, similarity = reference.empty_terms(12), reference.cosine(embeddings)
    for a in range(12):
        positives, negatives = reference.candidates(MANY, a, same_class=share)
        for others, sign, margin in ((positives, -1, 0.9), (negatives, 1, 0.3)):
            for j in others:
                value = sign * (similarity[a, j] - margin)
                terms.total[a] += max(0, value)
                terms.valid[a] += 1
                terms.weights[a, j] = sign * (value > 0)
    return terms


def test_several_labels_equal_the_oracle():
    expected = contrastive_loop(EMBEDDINGS)
    made = losses.ContrastiveLoss(0.9, 0.3, same_class="share_a_label", average_over="valid", dtype="float64")
    value, slope = value_and_gradient(made, MANY, tensor(EMBEDDINGS))
    np.testing.assert_allclose(value, expected.mean(), rtol=1e-6)
    np.testing.assert_allclose(numpy(slope), reference.gradient(expected, EMBEDDINGS), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(numpy(made.pair_weights(MANY, EMBEDDINGS)), expected.weights, atol=1e-9)
    # Row 0 has no label at all: an anchor without positives, and a negative of everyone.
    assert expected.total[0] == 0
    assert expected.weights[1:, 0].any()


def test_rows_with_a_label_to_ignore_take_no_part():
    rows = np.eye(3, dtype=int)[LABELS]
    rows[[2, 7]] = -1
    made = losses.ContrastiveLoss(0.9, 0.3, same_class="share_a_label", ignore_label=-1, reduction=None)
    plain = losses.ContrastiveLoss(0.9, 0.3, reduction=None)
    kept = rows[:, 0] != -1
    values = numpy(made(rows, EMBEDDINGS))
    np.testing.assert_allclose(values[kept], numpy(plain(LABELS[kept], EMBEDDINGS[kept])), rtol=1e-5, atol=1e-6)
    assert not values[~kept].any()


@pytest.mark.parametrize("chosen", ["share_a_label", same_half])
def test_config_and_saved_models(chosen, tmp_path):
    made = losses.TripletLoss(same_class=chosen)
    again = losses.TripletLoss.from_config(made.get_config())
    assert again.same_class == chosen
    labels = np.eye(3, dtype=int)[LABELS] if chosen == "share_a_label" else LABELS
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile("sgd", loss=made)
    model.fit(EMBEDDINGS, labels, verbose=0, batch_size=12)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.loss.same_class == chosen
    assert loaded.evaluate(EMBEDDINGS, labels, batch_size=12, verbose=0) == pytest.approx(
        model.evaluate(EMBEDDINGS, labels, batch_size=12, verbose=0)
    )


def test_rows_of_labels_ask_for_a_function():
    with pytest.raises(ValueError, match='same_class="share_a_label"'):
        losses.TripletLoss()(MANY, EMBEDDINGS)
    with pytest.raises(ValueError, match="`same_class` must be one of"):
        losses.TripletLoss(same_class="overlap")
    assert same_class.get("equal") is same_class.equal
