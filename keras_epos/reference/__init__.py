"""Every formula of the library in plain NumPy: float64, one loop an anchor, as the papers state them.

Nothing here is fast. It is what the tests compare the tensor code with, and what to read when a formula is in
doubt. A strategy is a function `(ease, candidates) -> chosen indices`; a loss takes its settings and two
strategies and returns `Terms`; a loss with proxies takes those as well. Only NumPy is imported.

    from keras_epos import reference
    terms = reference.triplet(labels, embeddings, positives=reference.easy, negatives=reference.semi_hard)
    terms.mean("active"), terms.weights, reference.gradient(terms, embeddings)
"""

from keras_epos.reference.pairs import (
    binomial_deviance,
    contrastive,
    intra_pair_variance,
    margin,
    ranked_list,
    snr_contrastive,
)
from keras_epos.reference.proxies import (
    arc_face,
    cos_face,
    normalized_softmax,
    proxy_anchor,
    proxy_gradients,
    proxy_nca,
    soft_triple,
    soft_triple_regularizer,
    sub_center_arc_face,
)
from keras_epos.reference.ranking import fast_ap, smooth_ap
from keras_epos.reference.similarity import cosine, distance, nearness, unit
from keras_epos.reference.softmax import (
    angular,
    circle,
    generalized_lifted_structure,
    lifted_structure,
    multi_similarity,
    n_pairs,
    nca,
    nt_xent,
    sup_con,
    tuplet_margin,
)
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
from keras_epos.reference.triplets import class_tree, easy_positive_hard_negative, hierarchical_triplet, triplet

__all__ = [
    "Terms",
    "angular",
    "arc_face",
    "binomial_deviance",
    "candidates",
    "circle",
    "class_tree",
    "contrastive",
    "cos_face",
    "cosine",
    "distance",
    "distance_probabilities",
    "easy",
    "easy_positive_hard_negative",
    "empty_terms",
    "everything",
    "fast_ap",
    "generalized_lifted_structure",
    "gradient",
    "hard",
    "hierarchical_triplet",
    "intra_pair_variance",
    "is_relative",
    "lifted_structure",
    "margin",
    "multi_similarity",
    "n_pairs",
    "nca",
    "nearness",
    "normalized_softmax",
    "nt_xent",
    "numerical_gradient",
    "proxy_anchor",
    "proxy_gradients",
    "proxy_nca",
    "ranked_list",
    "semi_hard",
    "smooth_ap",
    "snr_contrastive",
    "soft_triple",
    "soft_triple_regularizer",
    "sub_center_arc_face",
    "sup_con",
    "triplet",
    "tuplet_margin",
    "unit",
]
