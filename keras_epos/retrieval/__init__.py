"""Retrieval and its protocols: ranking, re-identification, verification, open set, neighbors and thresholds, exactly.

Similarities are computed in float32 by the backend; wherever float32 cannot tell on which side of a threshold a
similarity falls, that pair is computed again in float64. So the result is that of a float64 brute force, whatever
the block size, in memory that does not grow with the product of queries and gallery. At 60,000 x 128 on a CPU Recall@K
costs about two plain matrix products and all measures four; when most similarities are equal, as after a collapse,
nearly everything is computed in float64 and takes several times as long.

Similarities that differ by no more than `TIE` are equal, and a tie counts against you: references of another class
come first. (In float64 a few units of 1e-16 are rounding; two copies of an image differ by that much or by nothing.)
"""

from keras_epos.retrieval._calibrate import calibrate
from keras_epos.retrieval._class_means import ByClass, Difference, by_class, compare
from keras_epos.retrieval._evaluate import METRICS, evaluate
from keras_epos.retrieval._expansion import Whitening, augment_gallery, expand_queries, whiten
from keras_epos.retrieval._inspect import Finding, inspect
from keras_epos.retrieval._list_measures import LIST_METRICS
from keras_epos.retrieval._nearest import nearest
from keras_epos.retrieval._open_set import open_set
from keras_epos.retrieval._prefixes import recall_by_dim
from keras_epos.retrieval._product import TIE
from keras_epos.retrieval._rerank import Reranking, rerank
from keras_epos.retrieval._templates import template_means
from keras_epos.retrieval._threshold import Curve, Threshold
from keras_epos.retrieval._verification import PairCurve, Verification
from keras_epos.retrieval._verify import verify
from keras_epos.retrieval._verify_pairs import verify_pairs

__all__ = [
    "LIST_METRICS",
    "METRICS",
    "TIE",
    "ByClass",
    "Curve",
    "Difference",
    "Finding",
    "PairCurve",
    "Reranking",
    "Threshold",
    "Verification",
    "Whitening",
    "augment_gallery",
    "by_class",
    "calibrate",
    "compare",
    "evaluate",
    "expand_queries",
    "inspect",
    "nearest",
    "open_set",
    "recall_by_dim",
    "rerank",
    "template_means",
    "verify",
    "verify_pairs",
    "whiten",
]
