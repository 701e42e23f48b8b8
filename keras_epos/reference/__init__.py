"""Every formula of the library in plain NumPy: float64, one loop an anchor, as the papers state them.

Nothing here is fast. It is what the tests compare the tensor code with, and what to read when a formula is in
doubt. A strategy is a function `(ease, candidates) -> chosen indices`; a loss takes its settings and two
strategies and returns `Terms`; a loss with proxies takes those as well. Only NumPy is imported.

    from keras_epos import reference
    terms = reference.triplet(labels, embeddings, positives=reference.easy, negatives=reference.semi_hard)
    terms.mean("active"), terms.weights, reference.gradient(terms, embeddings)
"""

from keras_epos.reference.angular import angular
from keras_epos.reference.arc_face import arc_face, sub_center_arc_face
from keras_epos.reference.binomial_deviance import binomial_deviance
from keras_epos.reference.circle import circle
from keras_epos.reference.contrastive import contrastive
from keras_epos.reference.cos_face import cos_face
from keras_epos.reference.easy_positive_hard_negative import easy_positive_hard_negative
from keras_epos.reference.fast_ap import fast_ap
from keras_epos.reference.generalized_lifted_structure import generalized_lifted_structure
from keras_epos.reference.hierarchical_triplet import class_tree, hierarchical_triplet
from keras_epos.reference.intra_pair_variance import intra_pair_variance
from keras_epos.reference.lifted_structure import lifted_structure
from keras_epos.reference.margin import margin
from keras_epos.reference.multi_similarity import multi_similarity
from keras_epos.reference.n_pairs import n_pairs
from keras_epos.reference.nca import nca
from keras_epos.reference.normalized_softmax import normalized_softmax
from keras_epos.reference.nt_xent import nt_xent
from keras_epos.reference.pairs import candidates, cosine, distance, nearness, unit
from keras_epos.reference.proxies import proxy_gradients
from keras_epos.reference.proxy_anchor import proxy_anchor
from keras_epos.reference.proxy_nca import proxy_nca
from keras_epos.reference.ranked_list import ranked_list
from keras_epos.reference.smooth_ap import smooth_ap
from keras_epos.reference.snr_contrastive import snr_contrastive
from keras_epos.reference.soft_triple import soft_triple, soft_triple_regularizer
from keras_epos.reference.strategies import distance_probabilities, easy, everything, hard, is_relative, semi_hard
from keras_epos.reference.sup_con import sup_con
from keras_epos.reference.terms import Terms, empty_terms, gradient, numerical_gradient
from keras_epos.reference.triplet import triplet
from keras_epos.reference.tuplet_margin import tuplet_margin

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
