"""The losses, one a file."""

from keras_epos.losses._ada_face import AdaFaceLoss
from keras_epos.losses._angular import AngularLoss
from keras_epos.losses._arc_face import ArcFaceLoss, SubCenterArcFaceLoss
from keras_epos.losses._binomial_deviance import BinomialDevianceLoss
from keras_epos.losses._center import CenterLoss
from keras_epos.losses._circle import CircleLoss
from keras_epos.losses._contrastive import ContrastiveLoss
from keras_epos.losses._cos_face import CosFaceLoss
from keras_epos.losses._cross_batch_memory import CrossBatchMemory
from keras_epos.losses._easy_positive_hard_negative import EasyPositiveHardNegativeLoss
from keras_epos.losses._elastic_face import ElasticArcFaceLoss, ElasticCosFaceLoss
from keras_epos.losses._embedding_loss import EmbeddingLoss
from keras_epos.losses._fast_ap import FastAPLoss
from keras_epos.losses._generalized_lifted_structure import GeneralizedLiftedStructureLoss
from keras_epos.losses._hierarchical_triplet import HierarchicalTripletLoss
from keras_epos.losses._info_nce import InfoNCELoss
from keras_epos.losses._intra_pair_variance import IntraPairVarianceLoss
from keras_epos.losses._lifted_structure import LiftedStructureLoss
from keras_epos.losses._mag_face import MagFaceLoss
from keras_epos.losses._margin import MarginLoss
from keras_epos.losses._matryoshka import Matryoshka
from keras_epos.losses._multi_similarity import MultiSimilarityLoss
from keras_epos.losses._n_pairs import NPairsLoss
from keras_epos.losses._names import CLASSES, LOSSES, get
from keras_epos.losses._nca import NCALoss
from keras_epos.losses._normalized_softmax import NormalizedSoftmaxLoss
from keras_epos.losses._nt_xent import NTXentLoss
from keras_epos.losses._pair_loss import PairLoss
from keras_epos.losses._pair_weighting import PairWeightingLoss
from keras_epos.losses._penalties import (
    KoLeoPenalty,
    NormPenalty,
    SpreadOutPenalty,
    ThresholdConsistentPenalty,
    ZeroMeanPenalty,
)
from keras_epos.losses._pnp import PNPLoss
from keras_epos.losses._proxy_anchor import ProxyAnchorLoss
from keras_epos.losses._proxy_loss import ProxyLoss
from keras_epos.losses._proxy_nca import ProxyNCALoss
from keras_epos.losses._ranked_list import RankedListLoss
from keras_epos.losses._recall_at_k import RecallAtKLoss
from keras_epos.losses._siglip import SigLIPLoss
from keras_epos.losses._smooth_ap import SmoothAPLoss
from keras_epos.losses._snr_contrastive import SNRContrastiveLoss
from keras_epos.losses._soft_triple import SoftTripleLoss
from keras_epos.losses._sup_con import SupConLoss
from keras_epos.losses._terms import LossResult, Terms
from keras_epos.losses._triplet import EasyPositiveTripletLoss, TripletLoss
from keras_epos.losses._tuplet_margin import TupletMarginLoss
from keras_epos.losses._two_towers import TwoTowerLoss
from keras_epos.losses._weighted_sum import WeightedSum

__all__ = [
    "LOSSES",
    "EmbeddingLoss",
    "LossResult",
    "PairLoss",
    "ProxyLoss",
    "Terms",
    "TwoTowerLoss",
    "get",
    *(loss.__name__ for loss in CLASSES),
]
