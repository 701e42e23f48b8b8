"""Every formula of the library in plain NumPy: float64, one loop an anchor, as the papers state them.

Nothing here is fast. It is what the tests compare the tensor code with, and what to read when a formula is in
doubt. A strategy is a function `(ease, candidates) -> chosen indices`; a loss takes its settings and two
strategies and returns `Terms`; a loss with proxies takes those as well. Only NumPy is imported.

    from keras_epos import reference
    terms = reference.triplet(labels, embeddings, positives=reference.easy, negatives=reference.semi_hard)
    terms.mean("active"), terms.weights, reference.gradient(terms, embeddings)
"""

from keras_epos.reference import _centers, _pairs, _proxies, _ranking, _softmax, _triplets, _two_towers
from keras_epos.reference._centers import *
from keras_epos.reference._pairs import *
from keras_epos.reference._proxies import *
from keras_epos.reference._ranking import *
from keras_epos.reference._similarity import cosine, distance, nearness, unit
from keras_epos.reference._softmax import *
from keras_epos.reference._strategies import (
    candidates,
    distance_probabilities,
    easy,
    everything,
    hard,
    is_relative,
    semi_hard,
)
from keras_epos.reference._terms import Terms, empty_terms, gradient, numerical_gradient
from keras_epos.reference._triplets import *
from keras_epos.reference._two_towers import *

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
        *_centers.__all__,
        *_pairs.__all__,
        *_proxies.__all__,
        *_ranking.__all__,
        *_softmax.__all__,
        *_triplets.__all__,
        *_two_towers.__all__,
    ]
)
