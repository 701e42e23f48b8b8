"""Every formula of the library in plain NumPy: float64, one loop an anchor, as the papers state them.

Nothing here is fast. It is what the tests compare the tensor code with, and what to read when a formula is in
doubt. A strategy is a function `(ease, candidates) -> chosen indices`; a loss takes its settings and two
strategies and returns `Terms`; a loss with proxies takes those as well. Only NumPy is imported.

    from keras_epos import reference
    terms = reference.triplet(labels, embeddings, positives=reference.easy, negatives=reference.semi_hard)
    terms.mean("active"), terms.weights, reference.gradient(terms, embeddings)
"""

from keras_epos.reference import pairs, proxies, ranking, softmax, triplets
from keras_epos.reference.pairs import *
from keras_epos.reference.proxies import *
from keras_epos.reference.ranking import *
from keras_epos.reference.similarity import cosine, distance, nearness, unit
from keras_epos.reference.softmax import *
from keras_epos.reference.strategies import (
    candidates,
    distance_probabilities,
    easy,
    everything,
    hard,
    is_relative,
    semi_hard,
)
from keras_epos.reference.terms import Terms, empty_terms, gradient, numerical_gradient
from keras_epos.reference.triplets import *

__all__ = sorted(
    [
        "Terms",
        "candidates",
        "cosine",
        "distance",
        "distance_probabilities",
        "easy",
        "empty_terms",
        "everything",
        "gradient",
        "hard",
        "is_relative",
        "nearness",
        "numerical_gradient",
        "semi_hard",
        "unit",
        *pairs.__all__,
        *proxies.__all__,
        *ranking.__all__,
        *softmax.__all__,
        *triplets.__all__,
    ]
)
