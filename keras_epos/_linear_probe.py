"""A closed-form linear probe: how far one linear layer on frozen features goes, without a step of training."""

from typing import NamedTuple

import numpy as np

# Rows that are in float64 at a time.
BLOCK = 4096


class LinearProbe(NamedTuple):
    """What one linear layer must hold, and what it makes of features.

    Attributes:
        kernel: float64 `(F, D)`.
        bias: float64 `(D,)`.
        shrinkage: In 0..1, how far the covariance within classes was drawn towards a multiple of the identity.
    """

    kernel: np.ndarray
    bias: np.ndarray
    shrinkage: float

    def __call__(self, features):
        """float32 `(N, D)`, of features `(N, F)`."""
        return (np.asarray(features, "float64") @ self.kernel + self.bias).astype("float32")


def linear_probe(features, labels, dim, name="train"):
    """Linear discriminant analysis as an embedding: features whitened within classes, then principal directions.

    With the covariance `S` of the features within classes, their covariance `T` and their mean `m`, both over all rows,

        embedding(x) = P^T S^(-1/2) (x - m),  P = the `dim` largest eigenvectors of S^(-1/2) T S^(-1/2)

    so with all dimensions the distance of two embeddings is their Mahalanobis distance within classes, by which
    discriminant analysis finds the nearest class. Unlike its classifier this does not end after `C - 1` directions, of
    which few classes have too few to tell unseen ones apart. It is the discriminative whitening of retrieval
    (Mikolajczyk and Matas 2007, https://doi.org/10.1109/ICCV.2007.4408871; Radenovic et al. 2019,
    https://arxiv.org/abs/1711.02512). `S` is shrunk towards a multiple of the identity by as much as the rows say
    (Ledoit and Wolf 2004, https://doi.org/10.1016/S0047-259X(03)00096-4), so there may be fewer rows than features, and
    there is nothing to tune.

    Args:
        features: Floats `(N, F)`.
        labels: `(N,)`, integers or strings.
        dim: Number of dimensions wanted; there are at most `F`.
        name: What the argument is called that the features are of.

    Returns:
        `LinearProbe` with `D = min(dim, F)`. Columns of the kernel have a mean squared length of 1, as principal
        directions have: so a step of an optimizer turns it no further than those.

    Raises:
        ValueError: If a feature is not finite, there is one class only, or features do not differ within classes.
    """
    features, labels = np.asarray(features), np.asarray(labels)
    if not np.isfinite(features).all():
        raise ValueError(f"`{name}` must have finite features. Received: NaN or infinity. Look at inputs and backbone.")
    classes, labels = np.unique(labels.reshape(len(labels), -1), axis=0, return_inverse=True)
    labels = labels.reshape(-1)
    if classes.shape[0] < 2 or classes.shape[1] != 1:
        received = "rows of labels" if classes.shape[1] != 1 else f"{len(classes)}"
        raise ValueError(f"`{name}` must have one label each, of two classes at least. Received: {received}.")
    means, counts = class_means(features, labels, len(classes))
    within, shrinkage, spread = shrunk_within(features, labels, means)
    # A share of the squared length, below which float32 features differ by rounding alone.
    if spread <= 1e-12 * max(np.sum(np.square(means), axis=1).max(), 1e-300):
        raise ValueError(
            f"`{name}` must have features that differ within a class. Received: at most one image of a class, or "
            "constant features. Pass several images of each, and look at the backbone."
        )
    mean = counts @ means / len(features)
    values, vectors = np.linalg.eigh(within[0])
    whitening = vectors / np.sqrt(np.maximum(values, 1e-9 * values[-1])) @ vectors.T
    between = (np.sqrt(counts / len(features))[:, None] * (means - mean)) @ whitening
    directions = np.linalg.eigh(whitening @ within[1] @ whitening + between.T @ between)[1][:, ::-1][:, :dim]
    kernel = whitening @ directions
    kernel /= np.sqrt(np.mean(np.sum(np.square(kernel), axis=0)))
    return LinearProbe(kernel, -mean @ kernel, shrinkage)


def class_means(features, labels, num_classes):
    """Mean of each class, float64 `(C, F)`, and how many rows it has."""
    sums = np.zeros((num_classes, features.shape[1]))
    for rows, of_rows in blocks(features, labels):
        np.add.at(sums, of_rows, rows)
    counts = np.bincount(labels, minlength=num_classes)
    return sums / counts[:, None], counts


def shrunk_within(features, labels, means):
    """Covariance within classes, shrunk and as it is: a pair of `(F, F)`; the shrinkage, and the summed variance."""
    number, size = features.shape
    covariance, fourth = np.zeros((size, size)), 0.0
    for rows, of_rows in blocks(features, labels):
        residuals = rows - means[of_rows]
        covariance += residuals.T @ residuals / number
        fourth += np.sum(np.sum(np.square(residuals), axis=1) ** 2) / number
    level = np.trace(covariance) / size
    from_identity = np.sum(np.square(covariance)) - size * level**2
    # How far one row's product is from the covariance, on average, by the number of rows: the variance of the estimate.
    of_estimate = (fourth - np.sum(np.square(covariance))) / number
    shrinkage = float(np.clip(of_estimate / from_identity, 0, 1)) if from_identity > 0 else 0.0
    shrunk = (1 - shrinkage) * covariance + shrinkage * level * np.eye(size)
    return (shrunk, covariance), shrinkage, size * level


def blocks(features, labels):
    for start in range(0, len(features), BLOCK):
        yield features[start : start + BLOCK].astype("float64"), labels[start : start + BLOCK]
