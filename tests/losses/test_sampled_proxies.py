"""Losses with proxies that look at the classes of the batch and at others drawn at random."""

import keras
import loss_cases
import numpy as np
import pytest
from loss_cases import ON_JAX
from proxy_cases import CASES, make, numpy, tensor

from keras_epos import losses, reference
from keras_epos.losses import _drawn_proxies
from keras_epos.losses._class_draw import draw_classes

CLASSES, LABELS = 12, np.array([7, 2, 2, 9, 7, 2, 2, 0, 9, 7])


def drawn(case, sampled, seed=0, **settings):
    """A loss of a case with its step drawn, embeddings, proxies, and the classes that count."""
    random = np.random.default_rng(seed)
    directions = random.standard_normal((CLASSES, 4))
    embeddings = 0.8 * directions[LABELS] + random.standard_normal((len(LABELS), 4))
    centers = CASES[case].centers
    proxies = 0.5 * np.repeat(directions, centers, axis=0) + random.standard_normal((CLASSES * centers, 4))
    loss = make(case, proxies, sampled=sampled, seed=seed, **settings)
    loss.draw(LABELS)
    loss.drawn.bring()
    seen = loss.seen(training=True)
    classes = numpy(seen.classes)
    return loss, embeddings, proxies, classes if seen.counts is None else classes[numpy(seen.counts)]


# What looks at other things than similarities; JAX compiles each of them anew.
SOME = ["SoftTriple", "Proxy-Anchor"]
DRAWN = [(case, 0.5, 0) for case in (SOME if ON_JAX else CASES)] + [(case, 0.25, 8) for case in SOME]


@pytest.mark.parametrize(("case", "sampled", "room"), DRAWN)
def test_a_step_equals_the_oracle_of_the_classes_drawn(case, sampled, room, monkeypatch):
    monkeypatch.setattr(_drawn_proxies, "ROOM", room)
    loss, embeddings, proxies, classes = drawn(case, sampled)
    assert len(set(classes)) == len(classes) == max(round(sampled * CLASSES), 4)
    assert set(LABELS) <= set(classes) < set(range(CLASSES))
    centers = CASES[case].centers
    of_classes = proxies.reshape(CLASSES, centers, 4)[classes].reshape(-1, 4)
    labels = np.array([list(classes).index(label) for label in LABELS])
    expected = CASES[case].of_settings(labels, embeddings, of_classes)
    constants = {"constants_at": embeddings} if CASES[case].detached else {}

    def at(rows, of_classes):
        with keras.StatelessScope(state_mapping=[(loss.drawn.rows, of_classes)]):
            return loss(LABELS, rows)

    start = tensor(numpy(loss.drawn.rows), "float64")
    value, by_embeddings, by_proxies = loss_cases.value_and_gradients(at, tensor(embeddings), start)
    differences = (
        reference.numerical_gradient(
            lambda rows: CASES[case].of_settings(labels, rows, of_classes, **constants).mean(), embeddings
        ),
        reference.numerical_gradient(lambda rows: CASES[case].of_settings(labels, embeddings, rows).mean(), of_classes),
    )
    np.testing.assert_allclose(value, expected.mean(), rtol=1e-8)
    np.testing.assert_allclose(numpy(by_embeddings), differences[0], rtol=1e-5, atol=1e-7)
    count = len(classes) * centers
    np.testing.assert_allclose(numpy(by_proxies)[:count], differences[1], rtol=1e-5, atol=1e-7)
    assert not numpy(by_proxies)[count:].any()
    assert len(numpy(by_proxies)) == max(room, round(sampled * CLASSES)) * centers


def test_evaluation_and_weights_look_at_all_classes():
    loss, embeddings, proxies, _ = drawn("ArcFace", 0.5)
    expected = CASES["ArcFace"].of_settings(LABELS, embeddings, proxies)
    found = loss.result(LABELS, embeddings, training=False).reduced()
    np.testing.assert_allclose(numpy(found), expected.mean(), rtol=1e-8)
    np.testing.assert_allclose(numpy(loss.proxy_weights(LABELS, embeddings)), expected.weights, rtol=1e-7, atol=1e-9)


def test_classes_are_drawn_without_replacement_and_evenly():
    generator = keras.random.SeedGenerator(0)
    draws, number, of = 60, 100, 300
    # 0 is asked for; what is no class, or to be ignored, is not.
    labels = tensor(np.array([0, 0, of, -4, 5]), "int32")
    together = np.zeros((of, of))
    for _ in range(draws):
        classes, of_batch = draw_classes(labels, of, number, 5, generator)
        classes = numpy(classes)
        assert int(numpy(of_batch)) == 1
        assert classes[0] == 0
        assert len(set(classes)) == number
        together[np.ix_(classes, classes)] += 1
    found = np.diag(together)[1:], together[1:, 1:][np.triu_indices(of - 1, 1)]
    share = (number - 1) / (of - 1)
    for counts, expected, noise in zip(found, (share, share * (number - 2) / (of - 2)), (0.3, 0.15), strict=True):
        variance = draws * expected * (1 - expected)
        assert abs(np.mean((counts - draws * expected) ** 2) / variance - 1) < noise


def test_all_classes_of_any_number_can_be_drawn():
    for number in (2, 3, 5, 1000, 1024):
        classes, _ = draw_classes(
            tensor(np.array([1, 0]), "int32"), number, number, None, keras.random.SeedGenerator(0)
        )
        np.testing.assert_array_equal(np.sort(numpy(classes)), np.arange(number))


def test_the_seed_tells_what_is_drawn(monkeypatch):
    monkeypatch.setattr(_drawn_proxies, "ROOM", 0)

    def classes(seed):
        loss, _, _, first = drawn("CosFace", 0.5, seed)
        loss.draw(LABELS)
        return [*first, *numpy(loss.seen(True).classes)]

    assert classes(1) == classes(1) != classes(2)
    assert set(classes(1)[:6]) != set(classes(1)[6:])


def test_a_batch_of_many_classes_needs_room(monkeypatch):
    monkeypatch.setattr(_drawn_proxies, "ROOM", 3)
    with pytest.raises(ValueError, match=r"`sampled` must leave room .* has room for 3\..* Received: .* 4$"):
        drawn("ArcFace", 0.2)
    loss, embeddings, _, _ = drawn("ArcFace", 0.4)
    with pytest.raises(ValueError, match=r"`y_true` must be of classes that were drawn"):
        loss(np.arange(10), embeddings)


def test_ignored_labels_and_empty_batches():
    loss, embeddings, _, _ = drawn("ArcFace", 0.5, ignore_label=-1)
    value = numpy(loss(LABELS, embeddings))
    labels = np.concatenate([LABELS, [-1, -1]])
    loss.draw(labels)
    loss.drawn.bring()
    assert np.isfinite(numpy(loss(labels, np.concatenate([embeddings, np.full((2, 4), np.nan)]))))
    loss.draw(np.zeros(0, "int32"))
    loss.drawn.bring()
    assert numpy(loss(np.zeros(0, "int32"), np.zeros((0, 4)))) == 0
    assert value > 0


def test_a_share_that_leaves_no_class_out_changes_nothing():
    for sampled in (1, 1.0, 0.99):
        loss = make("ArcFace", np.eye(12, 4), sampled=sampled)
        assert loss.sampled_losses() == []
        assert [weight.name for weight in loss._layer.weights] == ["proxies"]
    assert losses.ArcFaceLoss(2_000_000, sampled=0.1).classes_of_a_step == 200_000
    assert losses.ArcFaceLoss(100, sampled=0.001).classes_of_a_step == 2
    for sampled in (0, 1.1, "all", -0.5):
        with pytest.raises(ValueError, match=r"`sampled` must be a share of the classes in \(0, 1\]. Received"):
            losses.ArcFaceLoss(100, sampled=sampled)
    loss = losses.SubCenterArcFaceLoss(100, sampled=0.25, seed=3)
    again = type(loss).from_config(loss.get_config())
    assert (again.sampled, again.seed, again.classes_of_a_step) == (0.25, 3, 25)
    with pytest.raises(TypeError, match="`sampled` must be an argument of CenterLoss"):
        losses.CenterLoss(100, sampled=0.1)
