"""Every formula of the library in plain NumPy: float64, one loop an anchor, as the papers state them.

Nothing here is fast. It is what the tests compare the tensor code with, and what to read when a formula is in
doubt. A strategy is a function `(ease, candidates) -> chosen indices`; a loss takes its settings and two
strategies and returns `Terms`. Only NumPy is imported.

    from keras_epos import reference
    terms = reference.triplet(labels, embeddings, positives=reference.easy, negatives=reference.semi_hard)
    terms.mean("active"), terms.weights, reference.gradient(terms, embeddings)
"""

from keras_epos.reference.angular import angular
from keras_epos.reference.circle import circle
from keras_epos.reference.contrastive import contrastive
from keras_epos.reference.margin import margin
from keras_epos.reference.multi_similarity import multi_similarity
from keras_epos.reference.nt_xent import nt_xent
from keras_epos.reference.pairs import candidates, cosine, distance, nearness, unit
from keras_epos.reference.strategies import distance_probabilities, easy, everything, hard, is_relative, semi_hard
from keras_epos.reference.sup_con import sup_con
from keras_epos.reference.terms import Terms, empty_terms, gradient, numerical_gradient
from keras_epos.reference.triplet import triplet

__all__ = [
    "Terms",
    "angular",
    "candidates",
    "circle",
    "contrastive",
    "cosine",
    "distance",
    "distance_probabilities",
    "easy",
    "empty_terms",
    "everything",
    "gradient",
    "hard",
    "is_relative",
    "margin",
    "multi_similarity",
    "nearness",
    "nt_xent",
    "numerical_gradient",
    "semi_hard",
    "sup_con",
    "triplet",
    "unit",
]
