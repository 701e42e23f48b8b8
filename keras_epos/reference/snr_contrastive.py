"""Contrastive loss on signal-to-noise distances."""

import numpy as np

from keras_epos.reference.pairs import candidates, cosine, unit
from keras_epos.reference.strategies import everything, negatives_of
from keras_epos.reference.terms import add_hinge, empty_terms


def snr_contrastive(
    labels,
    embeddings,
    positive_margin=0.0,
    negative_margin=1.0,
    normalize=True,
    positives=everything,
    negatives=everything,
    ignore_label=None,
):
    """Yuan et al. 2019: sum of `max(0, d_ap - m+)` and of `max(0, m- - d_an)` with `d_ij = var(f_i - f_j) / var(f_i)`.

    Anchors whose variance is lost beside their length have `d = 0`. Weights are derivatives by inner products, with the
    norms and the means of all rows held fixed; they do not determine the gradient, in which these change too.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    rows = unit(embeddings) if normalize else np.asarray(embeddings, "float64")
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        pulled = positives(similarity[a], same)
        pushed = negatives_of(similarity, a, pulled, other, negatives)
        signal = rows.shape[1] * np.var(rows[a])
        has_signal = signal > 1e-6 * rows[a] @ rows[a]
        slope = 2 / signal if has_signal else 0
        d = [np.var(rows[a] - row) / np.var(rows[a]) if has_signal else 0 for row in rows]
        for p in pulled:
            add_hinge(terms, a, p, d[p] - positive_margin, -slope)
        for n in pushed:
            add_hinge(terms, a, n, negative_margin - d[n], slope)
    return terms
