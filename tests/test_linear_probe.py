"""The closed-form linear probe, against loops in float64 and scikit-learn, and where it has no answer."""

import numpy as np
import pytest

from keras_epos import _linear_probe
from keras_epos._linear_probe import linear_probe


def data(rows=60, size=5, classes=4, seed=0):
    draw = np.random.default_rng(seed)
    labels = draw.permutation(np.arange(rows) % classes)
    mixed = draw.normal(size=(rows, size)) @ draw.normal(size=(size, size))
    return (mixed + 3 * draw.normal(size=(classes, size))[labels] + 2).astype("float32"), labels


def by_loops(features, labels):
    """Covariance within classes, its shrunk form, the shrinkage, and the covariance of all, row by row."""
    rows = np.asarray(features, "float64")
    n, size = rows.shape
    residuals = np.array([row - rows[labels == label].mean(axis=0) for row, label in zip(rows, labels, strict=True)])
    within = sum(np.outer(r, r) for r in residuals) / n
    level = np.trace(within) / size
    estimate = sum(np.sum((np.outer(r, r) - within) ** 2) for r in residuals) / n**2
    shrinkage = min(estimate / np.sum((within - level * np.eye(size)) ** 2), 1)
    shrunk = (1 - shrinkage) * within + shrinkage * level * np.eye(size)
    total = sum(np.outer(row - rows.mean(axis=0), row - rows.mean(axis=0)) for row in rows) / n
    return within, shrunk, shrinkage, total


def cosines(rows):
    rows = np.asarray(rows, "float64")
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


@pytest.mark.parametrize("shape", [{}, {"rows": 12, "size": 30, "classes": 3}, {"rows": 9000, "size": 3}])
def test_with_all_dimensions_inner_products_are_those_of_the_inverse_within_classes(shape):
    features, labels = data(**shape)
    probe = linear_probe(features, labels, features.shape[1])
    if len(features) < 1000:
        _, shrunk, shrinkage, _ = by_loops(features, labels)
    else:
        shrunk, shrinkage = by_scikit_learn(features, labels)
    assert probe.shrinkage == pytest.approx(shrinkage, rel=1e-9)
    centered = features.astype("float64") - features.astype("float64").mean(axis=0)
    products = centered[:200] @ np.linalg.inv(shrunk) @ centered[:200].T
    length = np.sqrt(np.diag(products))
    np.testing.assert_allclose(cosines(probe(features[:200])), products / np.outer(length, length), atol=1e-5)


def by_scikit_learn(features, labels):
    covariance = pytest.importorskip("sklearn.covariance")
    means = np.stack([features[labels == label].mean(axis=0, dtype="float64") for label in np.unique(labels)])
    return covariance.ledoit_wolf(features.astype("float64") - means[labels], assume_centered=True)


def test_the_shrinkage_is_that_of_scikit_learn():
    for shape in ({}, {"rows": 12, "size": 30, "classes": 3}):
        features, labels = data(**shape)
        shrunk, shrinkage = by_scikit_learn(features, labels)
        np.testing.assert_allclose(by_loops(features, labels)[1], shrunk, rtol=1e-6)
        assert linear_probe(features, labels, 2).shrinkage == pytest.approx(shrinkage, rel=1e-6)


def test_fewer_dimensions_are_the_largest_directions():
    features, labels = data()
    _, shrunk, _, total = by_loops(features, labels)
    values, vectors = np.linalg.eigh(shrunk)
    whitening = (vectors / np.sqrt(values)) @ vectors.T
    values, vectors = np.linalg.eigh(whitening @ total @ whitening)
    largest = vectors[:, ::-1][:, :2]
    kernel = whitening @ largest
    kernel /= np.linalg.norm(kernel) / np.sqrt(2)
    found = linear_probe(features, labels, 2)
    np.testing.assert_allclose(np.abs(found.kernel), np.abs(kernel), rtol=1e-6)
    expected = (features - features.astype("float64").mean(axis=0)) @ kernel
    np.testing.assert_allclose(np.abs(found(features)), np.abs(expected), atol=1e-4)


def test_the_first_directions_are_those_of_discriminant_analysis():
    """Of many rows, which hardly need shrinking, and features that tell the classes apart."""
    discriminant_analysis = pytest.importorskip("sklearn.discriminant_analysis")
    features, labels = data(rows=4000)
    lda = discriminant_analysis.LinearDiscriminantAnalysis(solver="eigen").fit(features.astype("float64"), labels)
    kernel = linear_probe(features, labels, 3).kernel
    angles = np.linalg.svd(np.linalg.qr(kernel)[0].T @ np.linalg.qr(lda.scalings_[:, :3])[0])[1]
    assert angles.min() > 0.999


def test_blocks_of_rows_make_no_difference(monkeypatch):
    features, labels = data()
    whole = linear_probe(features, labels, 3)
    monkeypatch.setattr(_linear_probe, "BLOCK", 7)
    parts = linear_probe(features, labels.astype(str), 3)
    np.testing.assert_allclose(np.abs(parts.kernel), np.abs(whole.kernel), rtol=1e-9)


def test_more_dimensions_than_features_are_not_made_up():
    features, labels = data()
    assert linear_probe(features, labels, 9).kernel.shape == (5, 5)


def test_features_that_never_change_and_copies_stay_finite():
    features, labels = data(rows=8, size=6, classes=2)
    features[:, 2] = 7.0
    features[:, 3] = features[:, 4]
    features *= 1e15
    probe = linear_probe(features, labels, 6)
    assert np.isfinite(probe.kernel).all()
    assert np.isfinite(probe(features)).all()
    assert np.linalg.norm(probe.kernel) == pytest.approx(np.sqrt(6))


def test_what_has_no_probe_is_refused():
    features, labels = data()
    with pytest.raises(ValueError, match=r"two classes at least\. Received: 1"):
        linear_probe(features, np.zeros(60, int), 2)
    with pytest.raises(ValueError, match="Received: rows of labels"):
        linear_probe(features, np.eye(4, dtype=int)[labels], 2)
    for constant in (np.ones_like(features), np.zeros_like(features), features[labels * 10]):
        with pytest.raises(ValueError, match="must have features that differ within a class"):
            linear_probe(constant, labels, 2)
    with pytest.raises(ValueError, match="must have features that differ within a class"):
        linear_probe(features, np.arange(60), 2)
    features[3, 1] = np.nan
    with pytest.raises(ValueError, match="must have finite features"):
        linear_probe(features, labels, 2)
