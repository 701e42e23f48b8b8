"""FastAP loss."""

import numpy as np

from keras_epos.reference.pairs import candidates, cosine
from keras_epos.reference.strategies import everything, negatives_of
from keras_epos.reference.terms import empty_terms, hinge


def fast_ap(labels, embeddings, num_bins=10, positives=everything, negatives=everything, ignore_label=None):
    """Cakir et al. 2019: `1 - sum_k h+_k H+_k / H_k / |P|` with soft histograms of squared distances from 0 to 4."""
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    width = 4 / num_bins
    place = np.clip((2 - 2 * similarity) / width, 0, num_bins)
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        terms.valid[a] = bool(same)
        pulled = positives(similarity[a], same)
        pushed = negatives_of(similarity, a, pulled, other, negatives)
        if not pulled:
            continue
        h = np.zeros((2, num_bins + 1))
        for row, chosen in enumerate((pulled, pushed)):
            for j in chosen:
                for k in range(num_bins + 1):
                    h[row, k] += max(0, 1 - abs(place[a, j] - k))
        near, far = np.cumsum(h, axis=1)
        terms.total[a] = 1 - sum(h[0, k] * near[k] / (near + far)[k] for k in range(num_bins + 1) if h[0, k]) / len(
            pulled
        )
        terms.active[a] = hinge(terms.total[a]) > 0
        # Derivative by each h+_k and h-_k, which are in every H from k on; then by the distances that fill them.
        slope = np.zeros((2, num_bins + 1))
        for k in range(num_bins + 1):
            later = [m for m in range(k, num_bins + 1) if h[0, m]]
            by_total = sum(h[0, m] * near[m] / (near + far)[m] ** 2 for m in later)
            direct = near[k] / (near + far)[k] if near[k] + far[k] else 1
            slope[0, k] = -(direct + sum(h[0, m] / (near + far)[m] for m in later) - by_total) / len(pulled)
            slope[1, k] = by_total / len(pulled)
        for row, chosen in enumerate((pulled, pushed)):
            for j in chosen:
                k = min(int(place[a, j]), num_bins - 1)
                terms.weights[a, j] = (slope[row, k + 1] - slope[row, k]) / width * -2
    return terms
