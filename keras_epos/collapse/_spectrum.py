"""How many directions the embeddings use."""

import numpy as np

from keras_epos._rows import Rows

# Singular values below this share of the largest are noise of rounding and count as this share.
FLOOR = 1e-6


def effective_rank(embeddings, labels=None):
    """Number of directions over which the variance spreads: `exp(entropy)` of the covariance's eigenvalues.

    Args:
        embeddings: Finite floats `(N, D)`, any scale: rows are L2-normalized here.
        labels: Integers or strings `(N,)`, or `None`. With labels: the mean over classes of two samples or more of
            the rank inside the class.

    Returns:
        Float from 1 (a line) to D (all directions alike), or 0 where all rows are equal.

    Raises:
        ValueError: for shapes that do not fit or embeddings that are not finite.

    Reference: Roy and Vetterli 2007, "The effective rank: a measure of effective dimensionality".

    Examples:
        >>> print(f"{keras_epos.collapse.effective_rank(embeddings):.0f} of {embeddings.shape[1]} directions")
        4 of 4 directions
    """
    if labels is None:
        return _rank(Rows.of(embeddings).units)
    rows = Rows.of(embeddings, labels)
    ranks = [_rank(rows.unit(members)) for members in rows.members() if len(members) > 1]
    return float(np.mean(ranks)) if ranks else 0.0


def spectral_decay(embeddings):
    """Divergence `KL(uniform || p)` of the singular values `p = s / sum(s)` of the unit rows, in nats.

    Args:
        embeddings: Finite floats `(N, D)`, any scale.

    Returns:
        Float: 0 when all D directions are used alike, more the fewer are used; about 13.8 at most, since singular
        values below 1e-6 of the largest count as that.

    Raises:
        ValueError: for shapes that do not fit or embeddings that are not finite.

    Reference: Roth et al. 2020, https://arxiv.org/abs/2002.08473 (rho).
    """
    rows = Rows.of(embeddings).units
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(rows.T @ rows), 0))
    if values.max() == 0:
        return 0.0
    values = np.maximum(values, FLOOR * values.max())
    share = values / values.sum()
    return float(-np.mean(np.log(share * len(share))))


def _rank(rows):
    centered = rows - rows.mean(axis=0)
    # The smaller of the two products has the same eigenvalues.
    product = centered.T @ centered if len(centered) >= centered.shape[1] else centered @ centered.T
    values = np.maximum(np.linalg.eigvalsh(product), 0)
    if values.sum() < FLOOR**2 * len(rows):
        return 0.0
    share = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(share * np.log(share))))
